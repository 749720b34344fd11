// Code for one instruction set between BEGIN and END, with the same compiler flags for every file.
// Headers come before BEGIN: what they define inline must not depend on the instruction set.
#pragma once

// Without it the compiler leaves the pieces of an inner loop as calls, and word counts unknown.
#define SEMICON_FAST_INLINE __attribute__((always_inline)) inline
#define SEMICON_FAST_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define SEMICON_FAST_TARGET_BEGIN(features) \
  SEMICON_FAST_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define SEMICON_FAST_TARGET_END SEMICON_FAST_PRAGMA(clang attribute pop)
#else
#define SEMICON_FAST_TARGET_BEGIN(features) \
  SEMICON_FAST_PRAGMA(GCC push_options) SEMICON_FAST_PRAGMA(GCC target(features))
#define SEMICON_FAST_TARGET_END SEMICON_FAST_PRAGMA(GCC pop_options)
#endif
