/* What the norms' kernels share: numbers of two dtypes, and the moments of numbers in a row. */
#pragma once
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* f(..., half) for a `half` that the compiler knows: the loops in f then have one dtype. */
#define EITHER(half, f, ...)         \
    do {                             \
        if (half) f(__VA_ARGS__, 1); \
        else f(__VA_ARGS__, 0);      \
    } while (0)

typedef union {
    float number;
    uint32_t bits;
} Float;

/* x[i] of floats, or if `half` of bfloat16s. */
INLINE float get(const void *x, int64_t i, int half) {
    if (!half) return ((const float *)x)[i];
    return (Float){.bits = (uint32_t)((const uint16_t *)x)[i] << 16}.number;
}

/* The same of a parameter, any NaN as the one whose lower half is 0. */
INLINE float parameter(const void *x, int64_t i, int low) {
    float number = get(x, i, low);
    return number == number ? number : NAN;
}

/* x[i] = number, to the nearest bfloat16 if `half`. A NaN stays one, as its lower half is 0: that of
   all that came from bfloat16, or from `parameter`. A test for it would cost a tenth of the time. */
INLINE void put(void *x, int64_t i, float number, int half) {
    uint32_t bits = (Float){number}.bits;
    if (half) ((uint16_t *)x)[i] = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    else ((float *)x)[i] = number;
}

INLINE const void *from(const void *x, int64_t i, int half) {
    return (const char *)x + i * (half ? 2 : 4);
}

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

typedef struct {
    double mean, squares; /* of some numbers: their mean, the sum of (x - mean)^2 */
} Moments;

#if defined(__AVX512F__)
enum { LANE = 16 };
#elif defined(__AVX2__)
enum { LANE = 8 };
#else
enum { LANE = 4 };
#endif
/* A register of floats; as many of them, or RUN numbers, are worked at once; CHUNK are added up in
   float, and stay in the first cache. */
typedef float Vec __attribute__((vector_size(4 * LANE)));
typedef uint32_t Bits __attribute__((vector_size(4 * LANE)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANE)));
enum { VECS = 4, RUN = VECS * LANE, CHUNK = 4096 };
#define EACH _Pragma("GCC unroll 4") for (int v = 0; v < VECS; v++)

/* As `get`, of numbers side by side. */
INLINE Vec load(const void *x, int64_t i, int half) {
    Vec numbers;
    Halves halves;
    if (half) {
        memcpy(&halves, (const uint16_t *)x + i, sizeof halves);
        return (Vec)(__builtin_convertvector(halves, Bits) << 16);
    }
    memcpy(&numbers, (const float *)x + i, sizeof numbers);
    return numbers;
}

/* As `put`. */
INLINE void store(void *x, int64_t i, Vec numbers, int half) {
    if (half) {
        const Bits bits = (Bits)numbers;
        const Halves halves =
            __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, Halves);
        memcpy((uint16_t *)x + i, &halves, sizeof halves);
    } else {
        memcpy((float *)x + i, &numbers, sizeof numbers);
    }
}

/* The sum of all lanes. */
INLINE float total(const Vec *vecs) {
    typedef float Four __attribute__((vector_size(16)));
    const Vec all = (vecs[0] + vecs[1]) + (vecs[2] + vecs[3]);
    Four fours[LANE / 4], sum;
    memcpy(fours, &all, sizeof fours);
    sum = fours[0];
    for (int k = 1; k < LANE / 4; k++) sum += fours[k];
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

/* The sums of x - shift and of (x - shift)^2, of the numbers from `begin` to `end`. */
INLINE void add_run(const void *x, int64_t begin, int64_t end, float shift, double *rest,
                    double *squares, int half) {
    const int64_t whole = end - (end - begin) % RUN;
    Vec all[VECS] = {0}, apart[VECS] = {0};
    for (int64_t i = begin; i < whole; i += RUN)
        EACH {
            const Vec one = load(x, i + v * LANE, half) - shift;
            all[v] += one;
            apart[v] += one * one;
        }
    int64_t i = whole;
    for (; i + LANE <= end; i += LANE) {
        const Vec one = load(x, i, half) - shift;
        all[0] += one;
        apart[0] += one * one;
    }
    float last = 0, last_squares = 0;
    for (int64_t j = i; j < end; j++) {
        const float one = get(x, j, half) - shift;
        last += one;
        last_squares += one * one;
    }
    *rest = total(all) + last;
    *squares = total(apart) + last_squares;
}

/* The mean of the first numbers. */
INLINE float guess(const void *x, int64_t begin, int64_t end, int half) {
    Vec few[VECS] = {0};
    if (end - begin < RUN) return get(x, begin, half);
    EACH few[v] = load(x, begin + v * LANE, half);
    return total(few) * (1.0f / RUN);
}

/* Moments of n numbers in a row; about 0 if they are not to be `centred`.

Of each chunk the sums of x - shift and of its square are found in float, the shift being the mean of
its first numbers; where that is more than two standard deviations off, once more with a better one.
Chunks are put together in double (Chan, Golub and LeVeque 1983). */
INLINE Moments moments_of_run(const void *x, int64_t n, int centred, int half) {
    Moments all = {0, 0};
    if (n < LANE) { /* too few for what follows to be worth its calls */
        for (int64_t i = 0; i < n && centred; i++) all.mean += get(x, i, half);
        all.mean /= n;
        for (int64_t i = 0; i < n; i++) {
            const double apart = get(x, i, half) - all.mean;
            all.squares += apart * apart;
        }
        return all;
    }
    for (int64_t done = 0; done < n; done += CHUNK) {
        const int64_t end = least(done + CHUNK, n);
        const double many = end - done, each = 1 / many;
        double rest, squares;
        float shift = 0;
        if (centred) shift = guess(x, done, end, half);
        add_run(x, done, end, shift, &rest, &squares, half);
        if (!centred) {
            all.squares += squares;
            continue;
        }
        double off = rest * each, apart = squares - off * rest;
        if (off * rest > 4 * apart) {
            shift += off;
            add_run(x, done, end, shift, &rest, &squares, half);
            off = rest * each;
            apart = squares - off * rest;
        }
        const double step = shift + off - all.mean, share = done ? many / (done + many) : 1;
        all.mean += step * share;
        all.squares += (apart < 0 ? 0 : apart) + step * step * share * done; /* a NaN stays one */
    }
    return all;
}

/* sums[0] += the sum of weight * dy, sums[1] += that of weight * dy * (x - mean), of n numbers in a
   row; weight is NULL for ones. */
INLINE void add_products(const void *restrict dy, const void *restrict x, int64_t n, float mean,
                         const float *restrict weight, double *sums, int half) {
    for (int64_t i = 0; i < n && n < LANE; i++) {
        const float g = get(dy, i, half) * (weight ? weight[i] : 1);
        sums[0] += g;
        sums[1] += g * (get(x, i, half) - mean);
    }
    for (int64_t done = 0; done < n && n >= LANE; done += CHUNK) {
        const int64_t end = least(done + CHUNK, n), whole = end - (end - done) % RUN;
        Vec sum[VECS] = {0}, both[VECS] = {0};
        for (int64_t i = done; i < whole; i += RUN)
            EACH {
                Vec g = load(dy, i + v * LANE, half);
                if (weight) g *= load(weight, i + v * LANE, 0);
                sum[v] += g;
                both[v] += g * (load(x, i + v * LANE, half) - mean);
            }
        int64_t i = whole;
        for (; i + LANE <= end; i += LANE) {
            Vec g = load(dy, i, half);
            if (weight) g *= load(weight, i, 0);
            sum[0] += g;
            both[0] += g * (load(x, i, half) - mean);
        }
        float last = 0, last_both = 0;
        for (int64_t j = i; j < end; j++) {
            const float g = get(dy, j, half) * (weight ? weight[j] : 1);
            last += g;
            last_both += g * (get(x, j, half) - mean);
        }
        sums[0] += total(sum) + last;
        sums[1] += total(both) + last_both;
    }
}
