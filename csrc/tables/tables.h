// Exact search over packed codes by multi-index hashing (Norouzi, Punjani and Fleet, "Fast exact
// search in Hamming space with multi-index hashing", TPAMI 2014). Does not use torch.
//
// A code is cut into pieces of consecutive bits, and each piece has a table of all codes by that
// piece. A code whose piece differs from the query's in r bits is found by looking up all values
// that differ from it in r bits. When the pieces t have been looked up at the radii 0 to done[t] -
// 1, a code that was not found differs in at least done[t] bits of each piece, so every code at
// distance below the sum of done[t] has been found: the certificate by which a search ends.
//
// Everything here takes N <= 2^48 codes (the published protocol 2^44), positions as uint32_t below
// 2^32 codes and uint64_t above.
#pragma once

#include <cstdint>
#include <vector>

#include "hamming/hamming.h"

namespace semicon_fast {

constexpr int64_t kMaxPieceBits = 64;    // flips of a piece are enumerated as sets of its bits
constexpr int64_t kMaxAddressBits = 28;  // 2 GiB of offsets

// Bits first..first + bits - 1 of a code, at one of 2^address_bits addresses. With as many address
// bits as bits the address is their value; otherwise it is a hash of it.
struct Piece {
  int64_t first, bits;
  int address_bits;
};

// The address of a piece: the exclusive or of one number for each bit that is set. So flipping a
// bit changes the address by that bit's number.
class Addresses {
 public:
  explicit Addresses(const Piece& piece);
  const std::vector<uint32_t>& numbers() const { return numbers_; }
  uint32_t of(const uint8_t* code) const {
    uint32_t address = 0;
    for (int64_t i = 0; i < bytes_; ++i) address ^= lookup_[256 * i + code[first_byte_ + i]];
    return address;
  }

 private:
  int64_t first_byte_, bytes_;
  std::vector<uint32_t> numbers_;  // (bits,)
  std::vector<uint32_t> lookup_;   // (bytes, 256)
};

// The codes at address a are positions[offsets[a]] to positions[offsets[a + 1] - 1], ascending.
template <class Index>
struct Table {
  Piece piece;
  const Index* offsets;    // (2^address_bits + 1,)
  const Index* positions;  // (N,)
};

// Fills the arrays of a table; needs two more bytes for each code meanwhile.
template <class Index>
void build_table(const Codes& codes, const Piece& piece, int threads, Index* offsets,
                 Index* positions);

// Work is counted in addresses looked up plus codes compared, each about one cache miss. A query
// for which more than `limit` is needed is answered by a scan.
template <class Index>
struct TableSearch {
  Codes queries, database;
  std::vector<Table<Index>> tables;  // their pieces cover all bits
  double limit;
  int threads;
};

// As `topk`. Returns how many queries were answered by a scan.
template <class Index>
int64_t topk_tables(const TableSearch<Index>& search, int64_t k, int32_t* distances,
                    int64_t* positions);

// The keys (see scan.h) of each query's codes within `radius`, ascending, and how many queries were
// answered by a scan.
struct Found {
  std::vector<std::vector<uint64_t>> keys;
  int64_t scanned = 0;
};
template <class Index>
Found range_tables(const TableSearch<Index>& search, int64_t radius);

// The k nearest of `candidates` candidates: the first by (least difference of a piece, distance,
// position), which is looking up radius 0, 1, ... in all tables until so many codes are found;
// k <= candidates <= N. search.limit is not used.
template <class Index>
void topk_candidates(const TableSearch<Index>& search, int64_t candidates, int64_t k,
                     int32_t* distances, int64_t* positions);

}  // namespace semicon_fast
