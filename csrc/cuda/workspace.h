// A call's workspace, handed out in order.
#pragma once

#include "search.h"

namespace semicon_fast::cuda {

class Workspace {
 public:
  explicit Workspace(const Context& context) : memory_(context.memory) {}

  // `count` of T; at least one, so that there is always an address.
  template <class T>
  T* take(int64_t count) const {
    const auto bytes = static_cast<size_t>(count < 1 ? 1 : count) * sizeof(T);
    return static_cast<T*>(memory_.allocate(memory_.self, bytes));
  }

 private:
  Memory memory_;
};

}  // namespace semicon_fast::cuda
