// Properties of the current device.
#include "device.cuh"

#ifndef SEMICON_FAST_EMULATE

namespace semicon_fast::cuda {

Device current_device() {
  int device = 0, values[4] = {};
  check(cudaGetDevice(&device));
  const cudaDeviceAttr wanted[] = {
      cudaDevAttrMultiProcessorCount, cudaDevAttrComputeCapabilityMajor,
      cudaDevAttrComputeCapabilityMinor, cudaDevAttrMaxSharedMemoryPerBlockOptin};
  for (int i = 0; i < 4; ++i) check(cudaDeviceGetAttribute(&values[i], wanted[i], device));
  return {values[0], 10 * values[1] + values[2], values[3]};
}

}  // namespace semicon_fast::cuda

#endif
