/* 3x3 convolution of stride 1 and zero padding 1, float32, N, H, W, C memory, few channels.

   The image is taken apart into planes, a tile at a time, with a pixel more on each side. Then a
   vector of LANES floats is all output channels of `run` = LANES / outs pixels of a line, and

       y[row - a + 1] += weight[a, b] * x        the convolution, three lines of y at a time
       dw[a, b] += x * g[row - a + 1]            its weight's gradient

   where x is `run` pixels of a plane, moved by b, once for each output channel: a broadcast, which
   costs no more than a load, and is used thrice. The sums stay in registers.

   Without AVX2 nothing is compiled: for 4 channels torch's is quicker there. */
#if defined(__AVX2__)
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define STRIP 7 /* vectors of a line whose 3 * STRIP sums, of 32 registers, are worked together */
#define PAIR 2  /* input channels of which the same is done for dw: 18 sums */
#else
#define LANES 8
#define STRIP 3
#define PAIR 1
#endif
#define IN_REGISTER(x) __asm__("" : "+v"(x)) /* else gcc reads it anew for each of three products */
#define INLINE static inline __attribute__((always_inline))
#define CHANNELS 8
#define GROUPS 8 /* of tiles, added up in their order, whoever worked them */
#define WORTH_THREADS 100000 /* products of a tap: 20 us on one */
#define WIDE 28    /* pixels of a tile's line */
#define ROWS 28    /* lines of a tile; half of them for dw, whose g lies beside it in the cache */
#define PLANES 128 /* lines of a tile's channels, with those above and below: 18 KB */
#define LEFT 4     /* where a line's first pixel lies */
#define LINE (LEFT + WIDE + 4)

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef double pairs __attribute__((vector_size(4 * LANES)));
typedef int32_t places __attribute__((vector_size(4 * LANES)));
typedef float quad __attribute__((vector_size(16)));
typedef float quad_anywhere __attribute__((vector_size(16), aligned(4), may_alias));
typedef double pair_anywhere __attribute__((aligned(4), may_alias));
typedef float plane_line[LINE];

typedef struct {
    int64_t height, width, channels, outs, run;
    int64_t rows; /* of a tile, at most */
    int64_t threads;
} sizes;

typedef struct {
    int64_t image, top, left, rows, cols;
    const plane_line *planes;      /* [rows + 2][channels], from the line above on */
} tile;

/* The `run` floats from here on, once for each output channel. */
INLINE vec broadcast(int run, const float *from)
{
#if LANES == 16
    if (run == 4) return (vec)_mm512_broadcast_f32x4(_mm_loadu_ps(from));
    const double x = *(const pair_anywhere *)from;
    return (vec)(pairs){x, x, x, x, x, x, x, x};
#else
    const float y = *from;
    if (run == 1) return (vec){y, y, y, y, y, y, y, y};
    const double x = *(const pair_anywhere *)from;
    return (vec)(pairs){x, x, x, x};
#endif
}

/* From [pixel][channel], as in memory, to a vector's [channel][pixel], and back. */
INLINE vec turned(int rows, int cols, vec x)
{
    places from;
    for (int l = 0; l < LANES; l++) from[l] = l % rows * cols + l / rows;
    return __builtin_shuffle(x, from);
}

#if LANES == 16
INLINE void put(vec x, float *to) /* four channels of four pixels */
{
    *(quad_anywhere *)to = __builtin_shufflevector(x, x, 0, 1, 2, 3);
    *(quad_anywhere *)(to + LINE) = __builtin_shufflevector(x, x, 4, 5, 6, 7);
    *(quad_anywhere *)(to + 2 * LINE) = __builtin_shufflevector(x, x, 8, 9, 10, 11);
    *(quad_anywhere *)(to + 3 * LINE) = __builtin_shufflevector(x, x, 12, 13, 14, 15);
}
#endif

/* Four pixels, apart by channels. */
INLINE void apart(int channels, const float *from, float *to)
{
#if LANES == 16
    const vec x = (vec) * (const anywhere *)from;
    if (channels == 4) {
        put(turned(4, 4, x), to);
    } else {
        const vec y = (vec) * (const anywhere *)(from + LANES);
        const places first = {0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27};
        put(__builtin_shuffle(x, y, first), to);
        put(__builtin_shuffle(x, y, first + 4), to + 4 * LINE);
    }
#else
    for (int i = 0; i < channels; i++)
        for (int p = 0; p < 4; p++) to[i * LINE + p] = from[p * channels + i];
#endif
}

/* Pixels a to z of a line, apart by channels. */
INLINE void line_apart(int channels, const float *line, int64_t a, int64_t z, plane_line *to)
{
    if (channels == 1) {
        memcpy(&to[0][LEFT], line + a, 4 * (z - a));
    } else if (z - a < 4) {
        for (int64_t p = a; p < z; p++)
            for (int i = 0; i < channels; i++) to[i][LEFT + p - a] = line[p * channels + i];
    } else {
        int64_t p = a;
#pragma GCC unroll 1
        for (; p + 4 <= z; p += 4) apart(channels, line + p * channels, &to[0][LEFT + p - a]);
        if (p < z) apart(channels, line + (z - 4) * channels, &to[0][LEFT + z - 4 - a]);
    }
}

/* Tiles of the image, as equal as they can be: how many, and where the k-th of them begins. */
static int64_t tiles(int64_t size, int64_t most) { return (size + most - 1) / most; }
static int64_t begin(int64_t size, int64_t most, int64_t k)
{
    return size * k / tiles(size, most);
}

static sizes sizes_of(int64_t height, int64_t width, int64_t channels, int64_t outs, int64_t rows,
                      int64_t n, int64_t threads)
{
    const int64_t fit = PLANES / channels - 2, work = n * height * width * channels * outs;
    return (sizes){height, width, channels, outs, LANES / outs, fit < rows ? fit : rows,
                   work > WORTH_THREADS ? threads : 1};
}

/* The tiles of all images in their order; their edges are at multiples of 4 pixels. */
static int64_t fours(const sizes *s) { return (s->width + 3) / 4; }
static int64_t count_tiles(const sizes *s)
{
    return tiles(s->height, s->rows) * tiles(fours(s), WIDE / 4);
}

static tile nth_tile(const sizes *s, int64_t k)
{
    const int64_t across = tiles(fours(s), WIDE / 4), j = k % count_tiles(s);
    const int64_t top = begin(s->height, s->rows, j / across);
    const int64_t left = 4 * begin(fours(s), WIDE / 4, j % across);
    const int64_t right = 4 * begin(fours(s), WIDE / 4, j % across + 1);
    return (tile){k / count_tiles(s), top, left, begin(s->height, s->rows, j / across + 1) - top,
                  (right < s->width ? right : s->width) - left, 0};
}

/* A tile's planes, with a line and a pixel more on each side; zeros outside the image. */
INLINE void planes_of(int channels, const float *x, const sizes *s, const tile *t, plane_line *to)
{
    const int64_t right = t->left + t->cols;
    for (int64_t r = t->top - 1; r <= t->top + t->rows; r++, to += channels) {
        const float *line = x + r * s->width * channels;
        if (r < 0 || r >= s->height) {
            memset(to, 0, channels * sizeof(plane_line));
            continue;
        }
        line_apart(channels, line, t->left, right, to);
        for (int i = 0; i < channels; i++) {
            to[i][LEFT - 1] = t->left > 0 ? line[(t->left - 1) * channels + i] : 0;
            *(quad_anywhere *)&to[i][LEFT + t->cols] = (quad){0};
            if (right < s->width) to[i][LEFT + t->cols] = line[right * channels + i];
        }
    }
}

/* The k-th tile, its planes in `to`. */
static tile take_apart(int64_t k, const float *x, const sizes *s, plane_line *to)
{
    tile t = nth_tile(s, k);
    x += t.image * s->height * s->width * s->channels;
    switch (s->channels) {
    case 1: planes_of(1, x, s, &t, to); break;
    case 4: planes_of(4, x, s, &t, to); break;
    default: planes_of(8, x, s, &t, to);
    }
    t.planes = (const plane_line *)to;
    return t;
}

/* What a line of x gives to the three lines of y that it reaches; of a to z, where it is fewer. */
INLINE void add_line(int run, int wide, int a, int z, const float *line, int64_t channels,
                     const vec (*weight)[3][3], vec (*sums)[STRIP])
{
    for (int64_t i = 0; i < channels; i++, line += LINE) {
#pragma GCC unroll 3
        for (int b = 0; b < 3; b++) {
#pragma GCC unroll 8
            for (int v = 0; v < wide; v++) {
                vec x = broadcast(run, line + v * run + b - 1);
                IN_REGISTER(x);
#pragma GCC unroll 3
                for (int k = a; k <= z; k++) sums[k][v] += weight[i][b][k] * x;
            }
        }
    }
}

/* The columns from `col` on of a tile, `kept` of the vectors' pixels. */
INLINE void strip(int run, int wide, const tile *t, int64_t col, int64_t kept, const sizes *s,
                  const vec (*weight)[3][3], vec bias, float *y)
{
    vec sums[3][STRIP];
    const int64_t first = t->top > 0 ? -1 : 0;
    const int64_t last = t->top + t->rows < s->height ? t->rows : t->rows - 1;
    const float *x = &t->planes[(first + 1) * s->channels][LEFT + col];
    float *to = y + ((t->top + first - 1) * s->width + t->left + col) * s->outs;
    for (int v = 0; v < wide; v++) sums[1][v] = sums[2][v] = bias;
    for (int64_t r = first; r <= t->rows; r++) { /* r - 1 is the line of y that is then complete */
#pragma GCC unroll 8
        for (int v = 0; v < wide; v++) sums[0][v] = bias;
        if (r <= 0)
            add_line(run, wide, 0, 1, x, s->channels, weight, sums);
        else if (r < t->rows - 1)
            add_line(run, wide, 0, 2, x, s->channels, weight, sums);
        else if (r <= last)
            add_line(run, wide, 1, 2, x, s->channels, weight, sums);
        if (r > 0) {
            if (kept == wide * run) {
#pragma GCC unroll 8
                for (int v = 0; v < wide; v++)
                    *(anywhere *)(to + v * LANES) = turned(LANES / run, run, sums[2][v]);
            } else {
                vec done[STRIP];
#pragma GCC unroll 8
                for (int v = 0; v < wide; v++) done[v] = turned(LANES / run, run, sums[2][v]);
                memcpy(to, done, 4 * kept * s->outs);
            }
        }
#pragma GCC unroll 8
        for (int v = 0; v < wide; v++) {
            sums[2][v] = sums[1][v];
            sums[1][v] = sums[0][v];
        }
        x += s->channels * LINE;
        to += s->width * s->outs;
    }
}

INLINE void tile_of_y(int run, const tile *t, const sizes *s, const vec (*weight)[3][3], vec bias,
                      float *y)
{
    const int64_t vectors = (t->cols + run - 1) / run, parts = tiles(vectors, STRIP);
    for (int64_t k = 0; k < parts; k++) {
        const int64_t v = begin(vectors, STRIP, k), wide = begin(vectors, STRIP, k + 1) - v;
        const int64_t left = t->cols - v * run, kept = left < wide * run ? left : wide * run;
        switch (wide) {
#define CASE(n) case n: strip(run, n, t, v * run, kept, s, weight, bias, y); break;
            CASE(1) CASE(2) CASE(3)
#if STRIP == 7
            CASE(4) CASE(5) CASE(6) CASE(7)
#endif
        }
    }
}

static void nth_of_y(int64_t k, const float *x, const sizes *s, const vec (*weight)[3][3], vec bias,
                     float *y)
{
    __attribute__((aligned(64))) plane_line planes[PLANES];
    const tile t = take_apart(k, x, s, planes);
    y += t.image * s->height * s->width * s->outs;
    if (s->outs == 4)
        tile_of_y(LANES / 4, &t, s, weight, bias, y);
    else
        tile_of_y(LANES / 8, &t, s, weight, bias, y);
}

/* y = conv(x, weight) + bias; the strides are those of output and input channels and of taps. */
static void convolve(const float *x, const float *weight, const float *bias, float *y, int64_t n,
                     const sizes *s, int64_t out, int64_t in, int64_t tap)
{
    vec taps[CHANNELS][3][3], start = {0};
    for (int64_t l = 0; l < LANES; l++) {
        const int64_t o = l / s->run;
        if (bias) start[l] = bias[o];
        for (int64_t i = 0; i < s->channels; i++)
            for (int64_t a = 0; a < 3; a++)
                for (int64_t b = 0; b < 3; b++)
                    taps[i][b][a][l] = weight[o * out + i * in + (3 * a + b) * tap];
    }
#pragma omp parallel for num_threads(s->threads) if (s->threads > 1)
    for (int64_t k = 0; k < n * count_tiles(s); k++)
        nth_of_y(k, x, s, (const vec(*)[3][3])taps, start, y);
}

/* Adds to dw, [b][a] for `count` channels, the products of a tile's lines with those of g, which
   begin a line above; with db, g's own sum too. */
INLINE void add_products(int run, int count, vec *db, const plane_line *x, const tile *t,
                         const vec (*g)[STRIP], int64_t channels, int64_t col, int64_t wide,
                         vec (*dw)[3][3])
{
    vec sums[PAIR][3][3], whole = {0};
#pragma GCC unroll 18
    for (int k = 0; k < count * 9; k++) sums[k / 9][k % 9 / 3][k % 3] = (vec){0};
    for (int64_t v = 0; v < wide; v++) {
        const float *in = &x[channels][LEFT + col + v * run];
        vec above = g[0][v], here = g[1][v];
        for (int64_t r = 0; r < t->rows; r++, in += channels * LINE) {
            const vec below = g[r + 2][v];
            if (db) whole += here;
#pragma GCC unroll 2
            for (int i = 0; i < count; i++) {
#pragma GCC unroll 3
                for (int b = 0; b < 3; b++) {
                    vec moved = broadcast(run, in + i * LINE + b - 1);
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
    for (int k = 0; k < count * 9; k++)
        dw[k / 9][k % 9 / 3][k % 3] += sums[k / 9][k % 9 / 3][k % 3];
    if (db) *db += whole;
}

INLINE void tile_of_dw(int run, const tile *t, const float *g, const sizes *s, vec (*dw)[3][3],
                       vec *db)
{
    const int64_t vectors = (t->cols + run - 1) / run, parts = tiles(vectors, STRIP);
    vec grads[ROWS + 2][STRIP];
    for (int64_t k = 0; k < parts; k++) {
        const int64_t v = begin(vectors, STRIP, k), wide = begin(vectors, STRIP, k + 1) - v;
        const int64_t left = t->cols - v * run, kept = left < wide * run ? left : wide * run;
        for (int64_t r = 0; r < t->rows + 2; r++) {
            const int64_t row = t->top + r - 1;
            const float *from = g + (row * s->width + t->left + v * run) * s->outs;
            vec *to = grads[r];
            if (row < 0 || row >= s->height) {
                for (int64_t u = 0; u < wide; u++) to[u] = (vec){0};
            } else if (kept == wide * run) {
                for (int64_t u = 0; u < wide; u++)
                    to[u] = turned(run, LANES / run, (vec) * (const anywhere *)(from + u * LANES));
            } else {
                to[wide - 1] = (vec){0};
                memcpy(to, from, 4 * kept * s->outs);
                for (int64_t u = 0; u < wide; u++) to[u] = turned(run, LANES / run, to[u]);
            }
        }
        for (int64_t i = 0; i < s->channels; i += PAIR) {
#define ADD(count, db)                                                                       \
    add_products(run, count, db, t->planes + i, t, (const vec(*)[STRIP])grads, s->channels,  \
                 v * run, wide, dw + i)
            if (s->channels == 1)
                ADD(1, db);
            else if (i == 0)
                ADD(PAIR, db);
            else
                ADD(PAIR, 0);
        }
    }
}

/* Adds the k-th tile's part; ROWS / 2 * STRIP products follow each other at most. */
static void nth_of_dw(int64_t k, const float *x, const float *g, const sizes *s, vec (*dw)[3][3],
                      vec *db)
{
    __attribute__((aligned(64))) plane_line planes[PLANES];
    const tile t = take_apart(k, x, s, planes);
    g += t.image * s->height * s->width * s->outs;
    if (s->outs == 4)
        tile_of_dw(LANES / 4, &t, g, s, dw, db);
    else
        tile_of_dw(LANES / 8, &t, g, s, dw, db);
}

/* dw and db, each of them where wanted. */
static void weigh(const float *x, const float *g, float *dw, float *db, int64_t n, const sizes *s)
{
    const int64_t taps = s->channels * 9, all = n * count_tiles(s);
    double sums[GROUPS][CHANNELS * 9 + 1][LANES];
#pragma omp parallel for num_threads(s->threads) if (s->threads > 1)
    for (int64_t k = 0; k < GROUPS; k++) {
        vec part[CHANNELS * 9 + 1];
        memset(sums[k], 0, (taps + 1) * sizeof sums[k][0]);
        memset(part, 0, sizeof part);
        for (int64_t j = all * k / GROUPS, end = all * (k + 1) / GROUPS; j < end; j++) {
            nth_of_dw(j, x, g, s, (vec(*)[3][3])part, &part[taps]);
            if (j % 8 < 7 && j + 1 < end) continue;
            for (int64_t t = 0; t <= taps; t++)
                for (int64_t l = 0; l < LANES; l++) sums[k][t][l] += part[t][l];
            memset(part, 0, sizeof part);
        }
    }
    for (int64_t k = 1; k < GROUPS; k++)
        for (int64_t t = 0; t <= taps; t++)
            for (int64_t l = 0; l < LANES; l++) sums[0][t][l] += sums[k][t][l];
    for (int64_t t = 0; t <= taps; t++)
        for (int64_t o = 0; o < s->outs; o++) {
            double sum = 0;
            for (int64_t l = 0; l < s->run; l++) sum += sums[0][t][o * s->run + l];
            if (t < taps && dw) /* t counts input channels, columns, rows */
                dw[o * taps + t / 9 * 9 + t % 3 * 3 + t % 9 / 3] = (float)sum;
            else if (t == taps && db)
                db[o] = (float)sum;
        }
}

/* y = conv(x, weight) + bias, the weight (outs, channels, 3, 3). */
int64_t conv3x3(const float *x, const float *weight, const float *bias, float *y, int64_t n,
                int64_t height, int64_t width, int64_t channels, int64_t outs, int64_t threads)
{
    const sizes s = sizes_of(height, width, channels, outs, ROWS, n, threads);
    convolve(x, weight, bias, y, n, &s, channels * 9, 9, 1);
    return 0;
}

/* The gradients of conv3x3; those whose address is null are not wanted. */
int64_t conv3x3_backward(const float *x, const float *weight, const float *g, float *dx, float *dw,
                         float *db, int64_t n, int64_t height, int64_t width, int64_t channels,
                         int64_t outs, int64_t threads)
{
    if (dx) { /* a convolution of g, its taps turned round */
        const sizes s = sizes_of(height, width, outs, channels, ROWS, n, threads);
        convolve(g, weight + 8, 0, dx, n, &s, 9, channels * 9, -1);
    }
    if (dw || db) {
        const sizes s = sizes_of(height, width, channels, outs, ROWS / 2, n, threads);
        weigh(x, g, dw, db, n, &s);
    }
    return 0;
}
#endif
