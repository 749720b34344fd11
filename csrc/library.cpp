// The operators of the CPU's library. They are one file for the compiler, since reading torch's
// headers takes most of its time: as two files they took 10.8 s, as one 6.4 s (one Zen 4 core).
#include "attention/bindings.h"
#include "hamming/bindings.h"
#include "scores/scores_bindings.h"
#include "tables/tables_bindings.h"
