// Selection on tensor cores with +-1 as int8 operands, native on all supported devices.
#include "select_mma.cuh"

namespace semicon_fast::cuda {

void select_int8(const Context& context, const Packed& queries, const Rows& codes,
                    const Found& found, uint32_t* words) {
  select_on_tensor_cores<Int8>(context, queries, codes, found, words);
}

}  // namespace semicon_fast::cuda
