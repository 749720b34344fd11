// Asymmetric search by every kernel of this machine against plain loops, without Python or torch:
// for sanitizers. Exits with 1 at the first difference. Argument: how many rounds of random shapes
// (default 60).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

#include "answers.h"
#include "hamming/isa/kernels.h"
#include "scores/scores.h"

namespace {

std::mt19937_64 generator(11);

int64_t below(int64_t n) { return answers::below(generator, n); }

// The score as it is defined, one bit at a time.
float score(const float* outputs, int64_t bits, const uint8_t* code, int64_t bytes) {
  float total = 0;
  for (int64_t g = 0; g < 2 * bytes; ++g) {
    float sum = 0;
    for (int64_t j = 4 * g; j < 4 * g + 4; ++j) {
      const float u = j < bits ? outputs[j] : 0.0f;
      const float term = code[j / 8] >> (j % 8) & 1 ? u : -u;
      sum = j == 4 * g ? term : sum + term;
    }
    total = g == 0 ? sum : total + sum;
  }
  return total;
}

bool check(int64_t round, const char* name) {
  const int64_t lengths[] = {1, 2, 3, 6, 8, 9, 16, 31, 32, 33, 64, 200, 512};
  const int64_t bytes = lengths[round % 13], bits = 8 * bytes - below(8);
  const int64_t count = 1 + below(round % 5 ? 700 : 20000 / bytes + 1), queries = 1 + below(11);
  const int64_t k = below(2) ? std::min<int64_t>(count, 1 + below(20)) : below(count + 1);
  const int64_t distinct = below(2) ? 0 : 1 + below(9);
  const answers::Table database(generator, count, bytes, below(3), below(9), distinct);
  std::vector<float> outputs(static_cast<size_t>(queries * bits));
  std::normal_distribution<float> normal;
  for (float& u : outputs) u = round % 3 ? normal(generator) : std::round(2 * normal(generator));
  if (round % 7 == 2) outputs[0] *= 1e6f;
  std::vector<float> scores(static_cast<size_t>(queries * k));
  std::vector<int64_t> positions(scores.size());
  semicon_fast::score_topk({outputs.data(), queries, bits, bits}, database.codes, k,
                           static_cast<int>(1 + below(3)), scores.data(), positions.data());
  for (int64_t q = 0; q < queries; ++q) {
    std::vector<float> all;
    for (int64_t n = 0; n < count; ++n) {
      const uint8_t* const code = database.codes.data + n * database.codes.stride;
      all.push_back(score(&outputs[q * bits], bits, code, bytes));
    }
    std::vector<int64_t> order(all.size());
    std::iota(order.begin(), order.end(), int64_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return all[a] > all[b]; });
    for (int64_t i = 0; i < k; ++i) {
      if (positions[q * k + i] == order[i] && scores[q * k + i] == all[order[i]]) continue;
      std::printf("%s: round %lld, %lld codes of %lld bits, query %lld, hit %lld differs\n", name,
                  (long long)round, (long long)count, (long long)bits, (long long)q, (long long)i);
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t rounds = argc > 1 ? std::atoll(argv[1]) : 60;
  const semicon_fast::Isa* isas[8];
  const int known = semicon_fast::available_isas(isas, 8);
  for (int i = 0; i < known; ++i) {
    if (!semicon_fast::set_isa(isas[i]->name)) return 1;
    for (int64_t round = 0; round < rounds; ++round) {
      if (!check(round, isas[i]->name)) return 1;
    }
    std::printf("%s: %lld rounds, all equal\n", isas[i]->name, (long long)rounds);
  }
}
