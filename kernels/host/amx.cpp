// Products in bfloat16, and of float32 in three parts, by the instructions of AMX; setup.py gives
// the flags.
#define GPUBP_AVX512BF16  // all processors that have AMX have these too, to round with
#define GPUBP_AMX
#define GPUBP_MODULE _host_amx
#define GPUBP_PRODUCT squares_product<gpubp::Bfloat16Squares>
#define GPUBP_PACKED_PRODUCT packed_squares<gpubp::Bfloat16Squares>
#define GPUBP_FLOAT32_PRODUCT squares_product<gpubp::Float32Squares>
#include "bfloat16_squares.h"
#include "float32_squares.h"
#include "product_module.h"
