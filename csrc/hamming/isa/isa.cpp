// Selects the instruction set at run time.
#include <atomic>
#include <cstring>

#include "hamming/isa/kernels.h"

namespace semicon_fast {
namespace {

#if defined(__x86_64__) || defined(_M_X64)
const Isa* const kAll[] = {&kAvx512Vpopcnt, &kAvx512, &kAvx2, &kScalar};
#elif defined(__aarch64__)
const Isa* const kAll[] = {&kNeon, &kScalar};
#else
const Isa* const kAll[] = {&kScalar};
#endif

const Isa* fastest() {
  for (const Isa* isa : kAll) {
    if (isa->supported()) return isa;
  }
  return &kScalar;
}

std::atomic<const Isa*> chosen{nullptr};

}  // namespace

int available_isas(const Isa** isas, int room) {
  int count = 0;
  for (const Isa* isa : kAll) {
    if (isa->supported() && count < room) isas[count++] = isa;
  }
  return count;
}

const Isa& active_isa() {
  const Isa* isa = chosen.load(std::memory_order_acquire);
  static const Isa* const automatic = fastest();
  return isa ? *isa : *automatic;
}

bool set_isa(const char* name) {
  if (std::strcmp(name, "auto") == 0) {
    chosen.store(nullptr, std::memory_order_release);
    return true;
  }
  for (const Isa* isa : kAll) {
    if (std::strcmp(name, isa->name) == 0 && isa->supported()) {
      chosen.store(isa, std::memory_order_release);
      return true;
    }
  }
  return false;
}

}  // namespace semicon_fast
