/* 3x3 convolution of stride 1 and zero padding 1, float32, N, H, W, C memory, few channels.

   A vector of LANES floats holds all the output channels of LANES / outs neighbouring pixels, which
   is how they lie in memory. For each input channel a line of the image is `spread`: every pixel's
   number repeated once for each output channel. Then with in = the spread line, moved by a pixel,

       y[row - a + 1] += weight[a, b] * in        the convolution, three lines at a time
       dw[a, b] += in * g[row - a + 1]            its weight's gradient

   so that a vector read is used thrice and nothing else is shuffled. A line is worked in strips of
   at most STRIP vectors, whose 3 * STRIP sums stay in registers. */
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define STRIP 7 /* 21 sums of 32 registers */
#define PAIR 2  /* input channels at a time in the weight's gradient: 18 sums */
#else
#define LANES 8
#define STRIP 3
#define PAIR 1
#endif
#if defined(__AVX__) /* gcc would read the memory anew for each of the three products */
#define IN_REGISTER(x) __asm__("" : "+v"(x))
#else
#define IN_REGISTER(x)
#endif
#define CHANNELS 8
#define ROWS 14   /* of an image in the weight's gradient: what is spread stays in the first cache */
#define GROUPS 16 /* of images, added up in their order, whoever worked them */
#define LOAD(at) ((vec) * (const anywhere *)(at))
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t places __attribute__((vector_size(4 * LANES)));
typedef vec spread_channel[STRIP + 2]; /* a vector left and right of the strip */

typedef struct {
    int64_t height, width, channels, outs;
    int64_t pixels;         /* of a vector */
    const float *end;       /* of the memory of x */
    places from[CHANNELS];  /* for each input channel, where a vector's lanes come from */
} sizes;

static sizes sizes_of(const float *x, int64_t n, int64_t height, int64_t width, int64_t channels,
                      int64_t outs)
{
    sizes s = {height, width, channels, outs, LANES / outs, x + n * height * width * channels, {{0}}};
    for (int64_t i = 0; i < channels; i++)
        for (int64_t l = 0; l < LANES; l++) s.from[i][l] = (int32_t)(l / outs * channels + i);
    return s;
}

/* Channels i to i + count of the vectors -1 to `wide` from pixel `first` on; what lies outside the
   image is left as it is. */
INLINE void spread(int count, int64_t i, const float *line, const sizes *s, int64_t first,
                   int64_t wide, spread_channel *to)
{
    const int64_t pixels = s->pixels, taken = pixels * s->channels;
    const int64_t read = taken > LANES ? 2 * LANES : LANES;
    const int64_t readable = (s->end - line - read) / s->channels;
    const int64_t whole = readable < s->width - pixels ? readable : s->width - pixels;
    for (int64_t v = 0, p = first - pixels; v < wide + 2; v++, p += pixels) {
        float part[2 * LANES];
        const float *from = line + p * s->channels;
        if (p < 0 || p > whole) {
            const int64_t a = p < 0 ? 0 : p, b = p + pixels > s->width ? s->width : p + pixels;
            if (a >= b) continue;
            memset(part, 0, sizeof part);
            memcpy(part + (a - p) * s->channels, line + a * s->channels,
                   4 * (b - a) * s->channels);
            from = part;
        }
        const vec x = LOAD(from);
        const vec y = taken > LANES ? LOAD(from + LANES) : x;
#pragma GCC unroll 8
        for (int k = 0; k < count; k++)
            to[k][v] = taken > LANES ? __builtin_shuffle(x, y, s->from[i + k])
                                     : __builtin_shuffle(x, s->from[i + k]);
    }
}

static void spread_all(const float *line, const sizes *s, int64_t first, int64_t wide,
                       spread_channel *to)
{
    switch (s->channels) {
    case 1: spread(1, 0, line, s, first, wide, to); break;
    case 4: spread(4, 0, line, s, first, wide, to); break;
    default: spread(8, 0, line, s, first, wide, to);
    }
}

/* A line's part of the three lines of y that it reaches; of a to z where some are not there. */
INLINE void add_line(int wide, int a, int z, const spread_channel *in, const sizes *s,
                     const vec (*weight)[3][3], vec (*sums)[STRIP])
{
    for (int64_t i = 0; i < s->channels; i++) {
#pragma GCC unroll 3
        for (int b = 0; b < 3; b++) {
            const float *moved = (const float *)&in[i][1] + (b - 1) * s->outs;
#pragma GCC unroll 8
            for (int v = 0; v < wide; v++) {
                vec x = LOAD(moved + v * LANES);
                IN_REGISTER(x);
#pragma GCC unroll 3
                for (int k = a; k <= z; k++) sums[k][v] += weight[i][b][k] * x;
            }
        }
    }
}

INLINE void strip(int wide, const float *x, const sizes *s, const vec (*weight)[3][3], vec bias,
                  int64_t first, float *y)
{
    vec sums[3][STRIP];
    spread_channel ring[2][CHANNELS];
    const int64_t left = s->width - first, kept = left < wide * s->pixels ? left : wide * s->pixels;
    memset(ring, 0, sizeof ring);
    spread_all(x, s, first, wide, ring[0]);
    for (int v = 0; v < wide; v++) sums[1][v] = bias;
    for (int64_t r = 0; r <= s->height; r++) {
        const int64_t next = r + 1;
        if (next < s->height)
            spread_all(x + next * s->width * s->channels, s, first, wide, ring[next & 1]);
#pragma GCC unroll 8
        for (int v = 0; v < wide; v++) sums[0][v] = bias;
        if (r == 0)
            add_line(wide, 0, 1, ring[0], s, weight, sums);
        else if (next < s->height)
            add_line(wide, 0, 2, ring[r & 1], s, weight, sums);
        else if (r < s->height)
            add_line(wide, 1, 2, ring[r & 1], s, weight, sums);
        if (r > 0) {
            float *to = y + ((r - 1) * s->width + first) * s->outs;
            if (kept == wide * s->pixels) {
#pragma GCC unroll 8
                for (int v = 0; v < wide; v++) *(anywhere *)(to + v * LANES) = sums[2][v];
            } else {
                vec done[STRIP];
#pragma GCC unroll 8
                for (int v = 0; v < wide; v++) done[v] = sums[2][v];
                memcpy(to, done, 4 * kept * s->outs);
            }
        }
#pragma GCC unroll 8
        for (int v = 0; v < wide; v++) {
            sums[2][v] = sums[1][v];
            sums[1][v] = sums[0][v];
        }
    }
}

/* The strips of a line, as equal as they can be: where the k-th begins, in vectors. */
static int64_t vectors(const sizes *s) { return (s->width + s->pixels - 1) / s->pixels; }
static int64_t strips(const sizes *s) { return (vectors(s) + STRIP - 1) / STRIP; }
static int64_t begin(const sizes *s, int64_t k) { return vectors(s) * k / strips(s); }

static void image(const float *x, const sizes *s, const vec (*weight)[3][3], vec bias, float *y)
{
    for (int64_t k = 0; k < strips(s); k++) {
        const int64_t first = begin(s, k) * s->pixels;
        switch (begin(s, k + 1) - begin(s, k)) {
#define CASE(wide) case wide: strip(wide, x, s, weight, bias, first, y); break;
            CASE(1) CASE(2) CASE(3)
#if STRIP == 7
            CASE(4) CASE(5) CASE(6) CASE(7)
#endif
        }
    }
}

/* y = conv(x, weight) + bias; the weight's strides are those of (outs, channels, 3, 3). */
static void convolve(const float *x, const float *weight, const float *bias, float *y, int64_t n,
                     int64_t height, int64_t width, int64_t channels, int64_t outs,
                     const int64_t *strides, int64_t threads)
{
    vec taps[CHANNELS][3][3], start = {0};
    const sizes s = sizes_of(x, n, height, width, channels, outs);
    for (int64_t l = 0; l < LANES; l++) {
        if (bias) start[l] = bias[l % outs];
        for (int64_t i = 0; i < channels; i++)
            for (int64_t a = 0; a < 3; a++)
                for (int64_t b = 0; b < 3; b++)
                    taps[i][b][a][l] = weight[l % outs * strides[0] + i * strides[1] +
                                              a * strides[2] + b * strides[3]];
    }
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t k = 0; k < n; k++)
        image(x + k * height * width * channels, &s, (const vec(*)[3][3])taps, start,
              y + k * height * width * outs);
}

int64_t conv3x3(const float *x, const float *weight, const float *bias, float *y, int64_t n,
                int64_t height, int64_t width, int64_t channels, int64_t outs, int64_t s0,
                int64_t s1, int64_t s2, int64_t s3, int64_t threads)
{
    const int64_t strides[] = {s0, s1, s2, s3};
    convolve(x, weight, bias, y, n, height, width, channels, outs, strides, threads);
    return 0;
}

/* Adds to dw, [b][a] for `count` channels, the products of `rows` spread lines with the lines of g;
   g begins a line above. */
INLINE void add_products(int count, const spread_channel (*x)[PAIR], const vec (*g)[STRIP],
                         const sizes *s, int64_t rows, int64_t wide, vec (*dw)[3][3])
{
    vec sums[PAIR][3][3];
#pragma GCC unroll 18
    for (int k = 0; k < count * 9; k++) sums[k / 9][k % 9 / 3][k % 3] = (vec){0};
    for (int64_t v = 0; v < wide; v++) {
        vec above = g[0][v], here = g[1][v];
        for (int64_t r = 0; r < rows; r++) {
            const vec below = g[r + 2][v];
#pragma GCC unroll 2
            for (int i = 0; i < count; i++) {
                const float *in = (const float *)&x[r][i][v + 1];
#pragma GCC unroll 3
                for (int b = 0; b < 3; b++) {
                    vec moved = LOAD(in + (b - 1) * s->outs);
                    IN_REGISTER(moved);
                    sums[i][b][0] += moved * below;
                    sums[i][b][1] += moved * here;
                    sums[i][b][2] += moved * above;
                }
            }
            above = here;
            here = below;
        }
    }
#pragma GCC unroll 18
    for (int k = 0; k < count * 9; k++) dw[k / 9][k % 9 / 3][k % 3] += sums[k / 9][k % 9 / 3][k % 3];
}

/* Adds an image's part to dw and db; in float32 at most ROWS * STRIP products follow each other. */
static void image_products(const float *x, const float *g, const sizes *s, vec (*dw)[3][3], vec *db)
{
    spread_channel lines[ROWS][PAIR];
    vec grads[ROWS + 2][STRIP];
    for (int64_t k = 0; k < strips(s); k++) {
        const int64_t wide = begin(s, k + 1) - begin(s, k), first = begin(s, k) * s->pixels;
        const int64_t left = s->width - first;
        const int64_t kept = left < wide * s->pixels ? left : wide * s->pixels;
        memset(lines, 0, sizeof lines);
        for (int64_t top = 0; top < s->height; top += ROWS) {
            const int64_t rows = s->height - top < ROWS ? s->height - top : ROWS;
            vec sum = {0};
            for (int64_t r = -1; r <= rows; r++) {
                vec *to = grads[r + 1];
                const float *from = g + ((top + r) * s->width + first) * s->outs;
                if (top + r < 0 || top + r >= s->height || kept < wide * s->pixels)
                    memset(to, 0, wide * sizeof(vec));
                if (top + r < 0 || top + r >= s->height) continue;
                if (kept < wide * s->pixels)
                    memcpy(to, from, 4 * kept * s->outs);
                else
                    for (int64_t v = 0; v < wide; v++) to[v] = LOAD(from + v * LANES);
                if (r >= 0 && r < rows)
                    for (int64_t v = 0; v < wide; v++) sum += to[v];
            }
            *db += sum;
            for (int64_t i = 0; i < s->channels; i += PAIR) {
                const int pair = PAIR == 2 && i + 1 < s->channels;
                for (int64_t r = 0; r < rows; r++) {
                    const float *line = x + (top + r) * s->width * s->channels;
                    if (pair)
                        spread(PAIR, i, line, s, first, wide, lines[r]);
                    else
                        spread(1, i, line, s, first, wide, lines[r]);
                }
                if (pair)
                    add_products(PAIR, (const spread_channel(*)[PAIR])lines,
                                 (const vec(*)[STRIP])grads, s, rows, wide, dw + i);
                else
                    add_products(1, (const spread_channel(*)[PAIR])lines,
                                 (const vec(*)[STRIP])grads, s, rows, wide, dw + i);
            }
        }
    }
}

/* dw and db, each of them where wanted. */
static void weigh(const float *x, const float *g, float *dw, float *db, int64_t n, int64_t height,
                  int64_t width, int64_t channels, int64_t outs, const int64_t *strides,
                  int64_t threads)
{
    const sizes s = sizes_of(x, n, height, width, channels, outs);
    double sums[GROUPS][CHANNELS * 9 + 1][CHANNELS];
    memset(sums, 0, sizeof sums);
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t k = 0; k < GROUPS; k++) {
        double whole[CHANNELS * 9 + 1][LANES] = {{0}};
        for (int64_t j = n * k / GROUPS; j < n * (k + 1) / GROUPS; j++) {
            vec part[CHANNELS * 9 + 1] = {{0}};
            image_products(x + j * height * width * channels, g + j * height * width * outs, &s,
                           (vec(*)[3][3])part, &part[channels * 9]);
            for (int64_t t = 0; t <= channels * 9; t++)
                for (int64_t l = 0; l < LANES; l++) whole[t][l] += part[t][l];
        }
        for (int64_t t = 0; t <= channels * 9; t++)
            for (int64_t l = 0; l < LANES; l++) sums[k][t][l % outs] += whole[t][l];
    }
    for (int64_t k = 1; k < GROUPS; k++)
        for (int64_t t = 0; t <= channels * 9; t++)
            for (int64_t o = 0; o < outs; o++) sums[0][t][o] += sums[k][t][o];
    for (int64_t o = 0; o < outs; o++) {
        if (db) db[o] = (float)sums[0][channels * 9][o];
        for (int64_t t = 0; dw && t < channels * 9; t++)
            dw[o * strides[0] + t / 9 * strides[1] + t % 3 * strides[2] + t % 9 / 3 * strides[3]] =
                (float)sums[0][t][o];
    }
}

/* The gradients of conv3x3; those whose address is null are not wanted. */
int64_t conv3x3_backward(const float *x, const float *weight, const float *g, float *dx, float *dw,
                         float *db, int64_t n, int64_t height, int64_t width, int64_t channels,
                         int64_t outs, int64_t s0, int64_t s1, int64_t s2, int64_t s3, int64_t d0,
                         int64_t d1, int64_t d2, int64_t d3, int64_t threads)
{
    if (dx) { /* a convolution of g with the taps turned round */
        const int64_t turned[] = {s1, s0, -s2, -s3};
        convolve(g, weight + 2 * s2 + 2 * s3, 0, dx, n, height, width, outs, channels, turned,
                 threads);
    }
    if (dw || db) {
        const int64_t strides[] = {d0, d1, d2, d3};
        weigh(x, g, dw, db, n, height, width, channels, outs, strides, threads);
    }
    return 0;
}
