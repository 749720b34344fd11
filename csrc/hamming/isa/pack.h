// Copies codes into lanes and planes (see kernels.h): the implementations of Isa::pack and
// Isa::pack_planes.
#pragma once

#include <cstdint>

#include "hamming/hamming.h"
#include "hamming/isa/kernels.h"

namespace semicon_fast {

void pack_scalar(const Codes& codes, int64_t first, int64_t count, int lane_bytes, uint8_t* lanes);
#if defined(__x86_64__)
void pack_avx2(const Codes& codes, int64_t first, int64_t count, int lane_bytes, uint8_t* lanes);
void pack_planes_avx2(const Codes& codes, int64_t first, int64_t count, uint8_t* planes);
#endif

// Copies the words from `word` on of `count` codes; the last word is padded with zeros.
void pack_words(const uint8_t* from, int64_t stride, int64_t bytes, int64_t word, int64_t count,
                uint8_t* lanes);

}  // namespace semicon_fast
