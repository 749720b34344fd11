// Selection on tensor cores with single-bit operands, native on compute capability 8.0 to 9.0.
#include "select_mma.cuh"

namespace semicon_fast::cuda {

void select_binary(const Context& context, const Packed& queries, const Rows& codes,
                      const Found& found, uint32_t* words) {
  select_on_tensor_cores<Binary>(context, queries, codes, found, words);
}

}  // namespace semicon_fast::cuda
