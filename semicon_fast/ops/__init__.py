"""The operations of the library: argument checks, then `torch.ops.semicon_fast.*`."""
