// Allocates the workspace of a call.
#pragma once

#include "search.h"

namespace semicon_fast::cuda {

class Workspace {
 public:
  explicit Workspace(const Context& context) : memory_(context.memory) {}

  // Memory for `count` elements of T; at least for one, so that the address is valid.
  template <class T>
  T* take(int64_t count) const {
    const auto bytes = static_cast<size_t>(count < 1 ? 1 : count) * sizeof(T);
    return static_cast<T*>(memory_.allocate(memory_.self, bytes));
  }

 private:
  Memory memory_;
};

}  // namespace semicon_fast::cuda
