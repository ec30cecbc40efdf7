/* A bare pickle: EDM's persistent objects, NumPy statistics, and all that refuses to be one. */
#include "fuzz_checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return fuzz_checkpoint(data, size); }
