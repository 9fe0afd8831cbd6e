/* The family's losses and their slopes by logit, as `_piece.py` has them, block by block of samples.

With a = scale * z + offset and t a sample's class, over the other classes

    top = max a_j      total = sum exp(a_j - top)      d = top - a_t + log(total) + margin_t
    miss = sigmoid(d)  hit = sigmoid(-d)               loss = miss^gamma * (softplus(d) + poly * miss)
    slope = miss^gamma * (miss + hit * (gamma * softplus(d) + poly * (gamma + 1) * miss))

and the gradient is slope * exp(a_j - top) / total for the others, -slope for t, times scale and the
sample's factor. What belongs to a sample is in the next wider type: gamma multiplies what rounding
does to d. `blocks.h` is the work, here included for the two types of computation; `expected.h` that
for probabilities as targets.

A block's numbers lie in a scratch of a core's nearest cache, samples side by side where these are
what fills a vector (images, or few classes), else classes side by side. */

#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined __x86_64__ && defined __GLIBC__ /* whose libmvec has them for vectors, within 4 ulp */
__attribute__((simd("notinbranch"))) double exp(double);
__attribute__((simd("notinbranch"))) double log(double);
__attribute__((simd("notinbranch"))) double pow(double, double);
__attribute__((simd("notinbranch"))) float powf(float, float);
#endif

enum { FLOAT32, BFLOAT16, FLOAT64 };
enum { NONE, SUM, MEAN, BATCHMEAN };
enum { BLOCK = 64, SIDE_BY_SIDE = 64, SCRATCH = 1 << 13 };

#define INLINE static inline __attribute__((always_inline))

INLINE double load(const void *from, int64_t i, int kind) {
    if (kind == FLOAT32) return ((const float *)from)[i];
    if (kind == FLOAT64) return ((const double *)from)[i];
    union { uint32_t bits; float value; } wide = {(uint32_t)((const uint16_t *)from)[i] << 16};
    return wide.value;
}

INLINE void store(void *to, int64_t i, double x, int kind) {
    if (kind == FLOAT32) {
        ((float *)to)[i] = x;
        return;
    }
    if (kind == FLOAT64) {
        ((double *)to)[i] = x;
        return;
    }
    union { float value; uint32_t bits; } wide = {(float)x};
    uint32_t even = (wide.bits + 0x7fff + (wide.bits >> 16 & 1)) >> 16;
    ((uint16_t *)to)[i] = x == x ? even : 0x7fc0;
}

/* exp(x) for x <= 0, to an ulp or so; NaN stays NaN. Polynomial: Cephes' expf. */
INLINE float exp_below_0(float x) {
    x = x < -104.0f ? -104.0f : x; /* where it is 0 */
    float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    int32_t whole = (int32_t)n, half = whole >> 1; /* two factors: the result may be denormal */
    union { int32_t bits; float value; } a = {(half + 127) << 23}, b = {(whole - half + 127) << 23};
    return p * a.value * b.value;
}

/* exp(a - top) for a <= top, without the error of the difference. */
INLINE double exp_of_difference(double a, double top) {
    double d = a - top, back = d - a, lost = (a - (d - back)) - (top + back);
    double e = exp(d);
    return lost == lost ? e + e * lost : e; /* not so for infinite numbers */
}

#define T float
#define W double
#define SUM float
#define CHUNK 32 /* numbers that are added in T before their sum is in W */
#define OF(name) name##_float
#define KIND FLOAT32
#define EXP_BELOW(a, top) exp_below_0((a) - (top))
#define EXP exp
#define LOG log
#define POW pow
#define LOG1P log1p
#define POW_OF_T powf
#define FABS fabs
#define TINY FLT_MIN
#define LARGEST FLT_MAX
#include "blocks.h"

#define T double
#define W long double
#define SUM long double
#define CHUNK 32
#define OF(name) name##_double
#define KIND FLOAT64
#define EXP_BELOW exp_of_difference
#define EXP expl
#define LOG logl
#define POW powl
#define LOG1P log1pl
#define POW_OF_T pow
#define FABS fabsl
#define TINY DBL_MIN
#define LARGEST DBL_MAX
#include "blocks.h"
