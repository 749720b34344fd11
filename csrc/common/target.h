// Compiles the code between BEGIN and END for one instruction set; all files have the same compiler
// flags. Include headers before BEGIN: their inline functions must not use the instruction set.
#pragma once

// Without it the compiler emits calls inside inner loops and does not propagate constant word
// counts.
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
