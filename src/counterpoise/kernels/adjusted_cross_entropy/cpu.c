/* Losses and their gradients with respect to the logits, one block of samples after the other.

With a = scale * z + offset and t a sample's class, over the other classes j

    row_max = max a_j       sum_exp = sum exp(a_j - row_max)
    d       = row_max - a_t + log(sum_exp) + margin_t          (so p_t = sigmoid(-d))
    loss    = (1 - p_t)^gamma * (softplus(d) + poly * (1 - p_t))
    dloss/dd = (1 - p_t)^gamma * (1 - p_t + p_t * (gamma * softplus(d) + poly * (gamma + 1) * (1 - p_t)))

and the gradient is dloss/dd * exp(a_j - row_max) / sum_exp for the other classes, -dloss/dd for t,
times scale and the sample's weight. What belongs to a sample, and not to a logit, is computed in the
next wider type, since gamma multiplies the rounding error of d.

For soft targets q (class probabilities, given or made by label smoothing), with the class weights in q,

    loss = sum of q_c * (1 - p_c)^gamma * (L_c + poly * (1 - p_c))        L_c = -log(p_c)
    h_c  = q_c * (1 - p_c)^gamma * (1 + p_c * (gamma * L_c / (1 - p_c) + poly * (gamma + 1)))
    gradient by logit c = p_c * (sum of h_j) - h_c

Of all classes only the largest, k, has a p above one half: what rounding would take from its 1 - p and
log(p) is kept by working from the sum over the others, in the wider type.

`kernel.h` is the work, included once for each type of computation. A block's numbers lie in a scratch
that fits the nearest cache: lane-major, with one sample a lane of the vectors, where classes are few or
the samples lie side by side in memory (images), and else class by class. */

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
enum { BLOCK = 64, LANE_MAJOR_CLASSES = 64, SCRATCH = 1 << 13, PARALLEL = 1 << 15 };

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

/* exp(a - row_max) for a <= row_max, without the rounding error of the difference. */
INLINE double exp_of_difference(double a, double row_max) {
    double d = a - row_max, back = d - a, lost = (a - (d - back)) - (row_max + back);
    double e = exp(d);
    return lost == lost ? e + e * lost : e; /* not so for infinite numbers */
}

#define T float
#define W double
#define SUM_T float
#define OF(name) name##_float
#define KIND FLOAT32
#define EXP_BELOW(a, row_max) exp_below_0((a) - (row_max))
#define EXP exp
#define LOG log
#define POW pow
#define LOG1P log1p
#define POW_OF_T powf
#define FABS fabs
#define TINY FLT_MIN
#define LARGEST FLT_MAX
#include "kernel.h"

#define T double
#define W long double
#define SUM_T long double
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
#include "kernel.h"
