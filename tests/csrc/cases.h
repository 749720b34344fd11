// What the check of the CUDA kernels searches in: shapes, settings and devices of each round.
#pragma once

#include <algorithm>
#include <cstdio>

#include "answers.h"
#include "search.h"

namespace cases {

using answers::Random;
using answers::Table;
namespace cuda = semicon_fast::cuda;

struct Case {
  int64_t round, distinct;
  Table queries, database;
  int64_t k, radius;
  cuda::Settings settings;
  cuda::Device device;
  uint64_t schedule = 0;

  int64_t bytes() const { return database.codes.bytes; }
};

template <class T, size_t size>
T one_of(Random& random, const T (&values)[size]) { return values[random() % size]; }

// Every width from 1 to 40 bytes, and some larger, in turn.
inline int64_t bytes_of(int64_t round) {
  const int64_t larger[] = {64, 128, 48, 129, 256, 65, 512, 96};
  const int64_t i = round * 7 % 48;
  return i < 40 ? i + 1 : larger[i - 40];
}

// Mostly what a search should have; else so little that what is rare happens.
inline cuda::Settings settings_of(Random& random, int64_t k) {
  cuda::Settings settings;
  settings.select_from = one_of<int64_t>(random, {1, 1, 1, 1 << 12});
  settings.sample = one_of<int64_t>(random, {1 << 16, 64, 1, 17});
  settings.chunk = one_of<int64_t>(random, {1 << 10, 1, 7, 64});
  settings.candidates = one_of<int64_t>(random, {0, 0, k, k + 1, k / 2 + 1, 2 * k + 40, 1});
  settings.sorted = one_of<int64_t>(random, {0, 0, 1, 16, 256});
  settings.workspace = one_of<int64_t>(random, {2 << 20, 1 << 20, 1});
  return settings;
}

// topk: enough codes for several blocks of them; what counts and places takes all of its time with
// long codes, whatever their number.
inline Case any_of(int64_t round, bool topk) {
  Random random(static_cast<uint64_t>(round) * 977 + 5);
  const int64_t bytes = bytes_of(round);
  const int64_t most =
      topk ? std::min(one_of<int64_t>(random, {40, 300, 2500, 2500}), 150000 / bytes)
           : std::min(one_of<int64_t>(random, {40, 300, 700}), 40 + 4000 / bytes);
  const int64_t counts[] = {0, 1, 31, 33, 257, answers::below(random, most), most, most, most,
                            most, most + 1, most + 5};
  const int64_t count = std::min(one_of(random, counts), most + 5);
  int64_t queries = one_of<int64_t>(random, {0, 1, 1, 2, 3, 4, 5, 8, 9, 16, 17, 33});
  // Random codes, few distinct ones, all the same.
  const int64_t distinct = one_of<int64_t>(random, {0, 0, 12, 2, 1});
  // Rows without gaps and aligned as they come; with gaps; at odd addresses.
  const int64_t gap = one_of<int64_t>(random, {0, 0, 0, 1, 3, 16 - bytes % 16});
  const int64_t offset = one_of<int64_t>(random, {0, 0, 0, 1, 4, 8, 15});
  const int64_t k = std::min(count, one_of<int64_t>(random, {0, 1, 2, 10, count / 2, count}));
  const int64_t radius = one_of<int64_t>(
      random, {0, 1, 4 * bytes, answers::below(random, 8 * bytes + 1), 8 * bytes,
               int64_t{1} << 40});
  const cuda::Settings settings = settings_of(random, k);
  if (settings.workspace == 1 || (!topk && bytes > 64)) queries = std::min<int64_t>(queries, 3);
  const cuda::Device devices[] = {
      {2, 90, 227 << 10}, {1, 80, 163 << 10}, {2, 86, 99 << 10}, {1, 100, 227 << 10}};
  const int64_t near = answers::below(random, 3);
  return {round, distinct, Table(random, queries, bytes, near % 2, near, distinct),
          Table(random, count, bytes, gap, offset, distinct), k, radius, settings,
          one_of(random, devices)};
}

// Round 0 to 511: every length from 1 to 32 bytes, the first code at every byte from an address
// that is aligned to 16, no gaps. 512 to 1023: the same with gaps. Neighbouring rounds have little
// in common, so that the first few are a fair sample.
inline Case layout_of(int64_t round) {
  Random random(static_cast<uint64_t>(round) + 77);
  const int64_t i = round * 37 % 512, bytes = i % 32 + 1, offset = i / 32;
  const int64_t gap = round < 512 ? 0 : one_of<int64_t>(random, {1, 2, 5, 16 - bytes % 16});
  const int64_t count = 260 + answers::below(random, 100);
  // 66: enough for histograms with a query to each thread.
  const int64_t queries = answers::below(random, 8) == 0 ? 66 : 1 + answers::below(random, 5);
  const int64_t near = answers::below(random, 3);
  cuda::Settings settings;
  settings.workspace = 2 << 20;
  settings.select_from = 1;
  settings.chunk = one_of<int64_t>(random, {1 << 10, 64});
  return {round, 0, Table(random, queries, bytes, near % 2, near, 0),
          Table(random, count, bytes, gap, offset, 0), one_of<int64_t>(random, {1, 10, count / 16}),
          2 * bytes, settings, {2, 90, 227 << 10}};
}

// So many codes that each thread of a scan by 1 to 3 queries makes several turns, the last of them
// incomplete, and reads the limits more than once; with gaps in rounds that are odd.
inline Case turns_of(int64_t round) {
  Random random(static_cast<uint64_t>(round) + 177);
  const int64_t lengths[] = {6, 3, 2, 8, 4, 12, 16, 24, 32, 5, 40};
  const int64_t bytes = lengths[round / 2 % 11], offset = answers::below(random, 16);
  const int64_t count = (round % 2 ? 1500000 : 4000000) / bytes + answers::below(random, 99);
  cuda::Settings settings;
  settings.path = cuda::Path::kScan;
  return {round, 0, Table(random, 1 + round % 3, bytes, 0, 0, 0),
          Table(random, round % 2 ? count / 8 : count, bytes, round % 2, offset, 0), 50, 0,
          settings, {1, 90, 227 << 10}};
}

inline void describe(const Case& c) {
  const cuda::Settings& s = c.settings;
  std::printf(
      "round %lld, schedule %llu: %lld queries, %lld codes of %lld bytes every %lld at %% 16 = %d, "
      "%lld distinct, k %lld, radius %lld; path %s, workspace %lld, candidates %lld, sorted %lld, "
      "sample %lld, select_from %lld, chunk %lld; device %d.%d\n",
      (long long)c.round, (unsigned long long)c.schedule, (long long)c.queries.codes.count,
      (long long)c.database.codes.count, (long long)c.bytes(), (long long)c.database.codes.stride,
      (int)(reinterpret_cast<uintptr_t>(c.database.codes.data) % 16), (long long)c.distinct,
      (long long)c.k, (long long)c.radius, cuda::kPathNames[(int)s.path], (long long)s.workspace,
      (long long)s.candidates, (long long)s.sorted, (long long)s.sample, (long long)s.select_from,
      (long long)s.chunk, c.device.capability / 10, c.device.capability % 10);
}

}  // namespace cases
