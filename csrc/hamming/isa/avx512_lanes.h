// Shared by the two AVX-512 files; included inside their target regions.

struct Lanes512 {
  using Vec = __m512i;
  static constexpr int kVectors = 1;
  static constexpr int kRegisters = 32;
  static constexpr int kShortestLane = 2;

  static Vec load(const uint8_t* from) { return _mm512_loadu_si512(from); }
  static Vec broadcast(uint64_t word) { return _mm512_set1_epi64(static_cast<int64_t>(word)); }
  static Vec xored(Vec a, Vec b) { return _mm512_xor_si512(a, b); }
  static Vec add_lanes(Vec a_u64x8, Vec b_u64x8) { return _mm512_add_epi64(a_u64x8, b_u64x8); }
  // Counts are below 2^16, so the minimum of a lane is the minimum of its lowest 16 bits. VPMINUW
  // is one operation on every CPU, VPMINUQ is not.
  static Vec least(Vec a_u16x32, Vec b_u16x32) { return _mm512_min_epu16(a_u16x32, b_u16x32); }

  template <class Lane>
  static Vec fill(int32_t n) {
    if constexpr (sizeof(Lane) == 8) return _mm512_set1_epi64(n);
    if constexpr (sizeof(Lane) == 4) return _mm512_set1_epi32(n);
    return _mm512_set1_epi16(static_cast<int16_t>(n));
  }
  template <class Lane>
  static uint64_t mask_below(Vec counts, Vec limit) {
    uint32_t mask;
    if constexpr (sizeof(Lane) == 8) mask = _mm512_cmplt_epu64_mask(counts, limit);
    if constexpr (sizeof(Lane) == 4) mask = _mm512_cmplt_epu32_mask(counts, limit);
    if constexpr (sizeof(Lane) == 2) mask = _mm512_cmplt_epu16_mask(counts, limit);
    // Forces the mask through a general register: g++ 12 can spill a mask that is about to be
    // widened with a 32-bit store and reload 64 bits (seen at -O1 -fsanitize=thread, where the
    // masks were then garbage).
    asm("" : "+r"(mask));
    return mask;
  }
  template <class Lane>
  static int any_below(Vec counts, Vec limit) {
    return mask_below<Lane>(counts, limit) != 0;
  }
  template <class Lane>
  static void store(Vec counts, uint16_t* out) {
    if constexpr (sizeof(Lane) == 8) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi64_epi16(counts));
    } else if constexpr (sizeof(Lane) == 4) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi32_epi16(counts));
    } else {
      _mm512_storeu_si512(out, counts);
    }
  }
};
