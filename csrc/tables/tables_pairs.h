// All pairs of codes within a radius of each other, by buckets of tables. Does not use torch.
#pragma once

#include <cstdint>
#include <vector>

#include "hamming/hamming.h"
#include "tables/tables.h"

namespace semicon_fast {

// Compares the codes whose pieces differ in `radius` bits. The piece has as many address bits as
// bits; with 0 bits all codes are compared.
struct JoinStep {
  Piece piece;
  int64_t radius;
};

struct ClosePair {
  int64_t first, second;  // positions, first < second
  int32_t distance;
};

// Pairs at distance <= radius, each once, ascending by (first, second). `steps` must find them all:
// with the radii 0 to done - 1 of disjoint pieces, distances below the sum of the pieces' done are
// found. Steps of one piece must follow each other. Returns false, with part of the pairs, if there
// are more than `most`.
bool close_pairs(const Codes& codes, const std::vector<JoinStep>& steps, int64_t radius,
                 int64_t most, int threads, std::vector<ClosePair>* pairs);

// The connected components of those pairs -> roots (N,): the first position of each code's
// component.
void close_groups(const Codes& codes, const std::vector<JoinStep>& steps, int64_t radius,
                  int threads, int64_t* roots);

}  // namespace semicon_fast
