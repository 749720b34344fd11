// Where threads meet: the block's barrier, a warp's collectives, the tensor cores' products.
#include <algorithm>
#include <cstring>

#include "threads.h"

namespace emulator {

namespace {

bool same(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

bool same(Site a, Site b) { return a.line == b.line && same(a.file, b.file); }

// The meeting that the current lane comes to: it belongs there, and nobody it waits for has left or
// waits for it elsewhere.
Meeting& arrive(Warp& warp, const char* name, unsigned mask, Site site) {
  const unsigned own = 1u << current->lane;
  if (!(mask & own)) fail(site, "%s: mask %08x does not name lane %u", name, mask, current->lane);
  if (mask & ~warp.existing) fail(site, "%s: mask %08x names lanes there are not", name, mask);
  if (mask & warp.returned) {
    fail(site, "%s: mask %08x names lanes of which %08x has returned", name, mask, warp.returned);
  }
  if (mask & warp.at_barrier) {
    fail(site, "%s with mask %08x: lanes %08x wait in __syncthreads", name, mask, warp.at_barrier);
  }
  for (Meeting& meeting : warp.meetings) {
    if (!(meeting.mask & own)) continue;
    if (meeting.mask != mask || !same(meeting.site, site) || !same(meeting.name, name)) {
      fail(site, "%s with mask %08x: lanes %08x wait in %s with mask %08x at %s:%d", name, mask,
           meeting.arrived, meeting.name, meeting.mask, meeting.site.file, meeting.site.line);
    }
    meeting.arrived |= own;
    return meeting;
  }
  warp.meetings.push_back({name, mask, own, site});
  return warp.meetings.back();
}

using Dot = uint32_t (*)(uint32_t a, uint32_t b);

// Rows of eight words: by the PTX ISA lane 4 g + t has the words t and t + 4 of rows g and g + 8 of
// A (registers 0 to 3: row g word t, row g + 8 word t, row g word t + 4, row g + 8 word t + 4), the
// words t and t + 4 of column g of B, and of C and D the columns 2 t and 2 t + 1 in rows g and g + 8.
template <Dot dot>
void multiply(Words* const lanes[32]) {
  uint32_t a[16][8], b[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    const uint32_t* word = lanes[lane]->word;
    a[g][t] = word[0];
    a[g + 8][t] = word[1];
    a[g][t + 4] = word[2];
    a[g + 8][t + 4] = word[3];
    b[g][t] = word[4];
    b[g][t + 4] = word[5];
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
      uint32_t sum = lanes[lane]->word[6 + i];
      for (int w = 0; w < 8; ++w) sum += dot(a[row][w], b[column][w]);
      lanes[lane]->word[i] = sum;
    }
  }
}

uint32_t and_popc(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(__builtin_popcount(a & b));
}

uint32_t dot_s8(uint32_t a, uint32_t b) {
  int32_t sum = 0;
  for (int i = 0; i < 32; i += 8) {
    sum += static_cast<int8_t>(a >> i & 0xff) * static_cast<int8_t>(b >> i & 0xff);
  }
  return static_cast<uint32_t>(sum);
}

void mma(const char* name, Combine combine, int32_t (&d)[4], const uint32_t (&a)[4],
         const uint32_t (&b)[2], const int32_t (&c)[4], Site site) {
  Words words;
  std::memcpy(words.word, a, sizeof a);
  std::memcpy(words.word + 4, b, sizeof b);
  std::memcpy(words.word + 6, c, sizeof c);
  collective(name, 0xffffffffu, words, combine, false, site);
  std::memcpy(d, words.word, sizeof d);
}

}  // namespace

unsigned lane() { return current->lane; }

void nothing(Words* const*) {}

void ballot(Words* const lanes[32]) {
  uint32_t votes = 0;
  for (unsigned i = 0; i < 32; ++i) {
    if (lanes[i] && lanes[i]->word[0]) votes |= 1u << i;
  }
  for (unsigned i = 0; i < 32; ++i) {
    if (lanes[i]) lanes[i]->word[0] = votes;
  }
}

void match(Words* const lanes[32]) {
  uint32_t value[32];
  for (unsigned i = 0; i < 32; ++i) {
    if (lanes[i]) value[i] = lanes[i]->word[0];
  }
  for (unsigned i = 0; i < 32; ++i) {
    if (!lanes[i]) continue;
    lanes[i]->word[0] = 0;
    for (unsigned j = 0; j < 32; ++j) {
      if (lanes[j] && value[j] == value[i]) lanes[i]->word[0] |= 1u << j;
    }
  }
}

void shuffle(Words* const lanes[32]) {
  uint32_t brought[32][2];
  for (unsigned i = 0; i < 32; ++i) {
    if (lanes[i]) std::copy_n(lanes[i]->word, 2, brought[i]);
  }
  for (unsigned i = 0; i < 32; ++i) {
    if (!lanes[i]) continue;
    const uint32_t from = lanes[i]->word[2];
    if (!lanes[from]) fail(current->site, "a shuffle reads lane %u, which is not in its mask", from);
    std::copy_n(brought[from], 2, lanes[i]->word);
  }
}

void synchronize(Site site) {
  Block& block = *current->block;
  if (block.unfinished < block.threads.size()) {
    fail(site, "__syncthreads: %zu threads of the block have returned",
         block.threads.size() - block.unfinished);
  }
  if (block.at_barrier && !same(block.barrier, site)) {
    fail(site, "__syncthreads: others wait in another at %s:%d", block.barrier.file,
         block.barrier.line);
  }
  block.barrier = site;
  races::release(&block);
  if (++block.at_barrier < block.threads.size()) {
    block.warps[current->warp].at_barrier |= 1u << current->lane;
    current->wait(site);
  } else {
    block.at_barrier = 0;
    for (Warp& warp : block.warps) warp.at_barrier = 0;
    for (const auto& other : block.threads) other->wake();
  }
  races::acquire(&block);
}

void collective(const char* name, unsigned mask, Words& words, Combine combine, bool orders_memory,
                Site site) {
  Warp& warp = current->block->warps[current->warp];
  Meeting& meeting = arrive(warp, name, mask, site);
  Thread* const self = current;
  self->words = &words;
  self->site = site;
  if (orders_memory) races::release(&warp);
  if (meeting.arrived == mask) {
    warp.meetings.erase(warp.meetings.begin() + (&meeting - warp.meetings.data()));
    Words* brought[32] = {};
    for (unsigned i = 0; i < 32; ++i) {
      if (mask >> i & 1) brought[i] = warp.lanes[i]->words;
    }
    combine(brought);
    for (unsigned i = 0; i < 32; ++i) {
      if (mask >> i & 1) warp.lanes[i]->wake();
    }
  } else {
    self->wait(site);
  }
  if (orders_memory) races::acquire(&warp);
}

void mma_b1_and_popc(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                     const int32_t (&c)[4], Site site) {
  mma("mma.b1.and.popc", multiply<and_popc>, d, a, b, c, site);
}

void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
            const int32_t (&c)[4], Site site) {
  mma("mma.s8", multiply<dot_s8>, d, a, b, c, site);
}

}  // namespace emulator
