/* What the norms of channels_last images share: numbers of two dtypes, moments, threads.

An image is `numbers` = pixels * channels numbers in a row. It is walked in rows of `width` lanes, a
multiple of the channels that fills vector registers, so that a lane is always of one channel. Every
lane has a mean and a sum of squares of its own. In chunks of at most 64 rows, which stay in the
cache, they are found in two passes in float; chunks, lanes and pieces are put together in double
(Chan, Golub and LeVeque 1983). Chunks and pieces depend on the shape alone, never on the threads.
*/
#pragma once
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t channels, groups, numbers; /* of an image */
    int64_t width, rows;               /* lanes, and rows of them in a chunk at most */
    int64_t piece, pieces;             /* numbers in a piece, what one thread does at a time */
} Plan;

typedef struct {
    double mean, squares; /* of some numbers: their mean, the sum of (x - mean)^2 */
} Moments;

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static inline Plan plan_of(int64_t channels, int64_t numbers, int64_t groups) {
    int64_t width = channels;
    while (width % 16 && width <= 256) width += channels;
    if (width > 256) width = channels;
    width *= (63 + width) / width;
    int64_t rows = least(64, 8192 / width), all = (numbers + width - 1) / width;
    if (rows < 16) rows = 16;
    int64_t in_piece = (65535 + width) / width;
    return (Plan){channels, groups, numbers, width, rows, in_piece * width,
                  (all + in_piece - 1) / in_piece};
}

static inline int64_t piece_length(const Plan *plan, int64_t piece) {
    return least(plan->piece, plan->numbers - piece * plan->piece);
}

/* n numbers from `at` on as floats: where they are, or if they are bfloat16 in the buffer. */
static inline const float *floats(const void *x, int64_t at, int64_t n, int half, float *buffer) {
    if (!half) return (const float *)x + at;
    const uint16_t *restrict from = (const uint16_t *)x + at;
    uint32_t *restrict to = (uint32_t *)__builtin_assume_aligned(buffer, 64);
    for (int64_t i = 0; i < n; i++) to[i] = (uint32_t)from[i] << 16;
    return buffer;
}

/* Where to write n floats from `at` on: `written` then rounds them to the nearest bfloat16. */
static inline float *room_for(void *y, int64_t at, int half, float *buffer) {
    return half ? buffer : (float *)y + at;
}

static inline void written(void *y, int64_t at, int64_t n, int half, const float *buffer) {
    if (!half) return;
    const uint32_t *restrict from = (const uint32_t *)__builtin_assume_aligned(buffer, 64);
    uint16_t *restrict to = (uint16_t *)y + at;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = from[i], even = bits + 0x7fff + (bits >> 16 & 1);
        to[i] = (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : even >> 16; /* NaN stays NaN */
    }
}

/* The next part of some memory, for `count` things of a size; on a cache line of its own. */
static inline void *part(char **memory, int64_t count, int64_t size) {
    void *here = *memory;
    *memory += (count * size + 63) / 64 * 64;
    return here;
}

/* sum[j] += x[., j] and, with a shift, squares[j] += (x[., j] - shift[j])^2 too, of so many rows. */
static inline void add_lanes(const float *restrict x, int64_t rows, int64_t width,
                             const float *restrict shift, float *restrict sum,
                             float *restrict squares) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4, x += 4 * width) {
        const float *b = x + width, *c = b + width, *d = c + width;
        if (!shift) {
            for (int64_t j = 0; j < width; j++) sum[j] += (x[j] + b[j]) + (c[j] + d[j]);
            continue;
        }
        for (int64_t j = 0; j < width; j++) {
            float s = shift[j], p = x[j] - s, q = b[j] - s, u = c[j] - s, v = d[j] - s;
            sum[j] += (p + q) + (u + v);
            squares[j] += (p * p + q * q) + (u * u + v * v);
        }
    }
    for (; r < rows; r++, x += width)
        for (int64_t j = 0; j < width; j++) {
            float p = shift ? x[j] - shift[j] : x[j];
            sum[j] += p;
            if (shift) squares[j] += p * p;
        }
}

/* Moments of each group, of a piece. Memory: see moments_bytes. */
static void moments_of(const void *x, int64_t at, int64_t n, const Plan *plan, int half,
                       char *memory, Moments *groups) {
    int64_t width = plan->width, chunk = plan->rows * width, done = 0;
    float *buffer = part(&memory, chunk, sizeof(float)), *sum = part(&memory, width, sizeof(float));
    float *shift = part(&memory, width, sizeof(float));
    float *squares = part(&memory, width, sizeof(float));
    double *mean = part(&memory, width, sizeof(double));
    double *m2 = part(&memory, width, sizeof(double));
    memset(mean, 0, width * sizeof(double));
    memset(m2, 0, width * sizeof(double));
    for (int64_t i = 0; i < n;) { /* whole rows, and in the end what is left: a shorter one */
        int64_t rows = least(plan->rows, (n - i) / width), lanes = rows ? width : n - i;
        if (!rows) rows = 1;
        const float *here = floats(x, at + i, rows * lanes, half, buffer);
        memset(sum, 0, lanes * sizeof(float));
        add_lanes(here, rows, lanes, NULL, sum, NULL);
        for (int64_t j = 0; j < lanes; j++) {
            shift[j] = sum[j] / rows;
            sum[j] = squares[j] = 0;
        }
        add_lanes(here, rows, lanes, shift, sum, squares);
        double one = 1.0 / rows, share = rows / (double)(done + rows);
        for (int64_t j = 0; j < lanes; j++) {
            double rest = sum[j] * one, apart = shift[j] + rest - mean[j];
            mean[j] += apart * share;
            m2[j] += squares[j] - sum[j] * rest + apart * apart * (done * share);
        }
        done += rows;
        i += rows * lanes;
    }
    int64_t size = plan->channels / plan->groups, used = least(n, width);
    double one = (double)plan->groups / n, whole = n / width, longer = n % width;
    for (int64_t g = 0; g < plan->groups; g++) groups[g] = (Moments){0, 0};
    for (int64_t j = 0; j < used;)
        for (int64_t g = 0; g < plan->groups; g++)
            for (int64_t end = j + size; j < end; j++)
                groups[g].mean += mean[j] * (whole + (j < longer)) * one;
    for (int64_t j = 0; j < used;)
        for (int64_t g = 0; g < plan->groups; g++)
            for (int64_t end = j + size; j < end; j++) {
                double apart = mean[j] - groups[g].mean;
                groups[g].squares += m2[j] + apart * apart * (whole + (j < longer));
            }
}

static inline int64_t moments_bytes(const Plan *plan) {
    return (plan->rows * plan->width + 3 * plan->width) * sizeof(float) +
           2 * plan->width * sizeof(double) + 6 * 64;
}

/* stats[g] = (mean, 1 / sqrt(variance + eps)) out of the moments of all pieces, in their order. */
static void statistics(const Plan *plan, const Moments *pieces, double eps, double *stats) {
    for (int64_t g = 0; g < plan->groups; g++) {
        Moments all = pieces[g];
        double count = piece_length(plan, 0);
        for (int64_t p = 1; p < plan->pieces; p++) {
            Moments one = pieces[p * plan->groups + g];
            double n = piece_length(plan, p), share = n / (count + n), apart = one.mean - all.mean;
            all.mean += apart * share;
            all.squares += one.squares + apart * apart * count * share / plan->groups;
            count += n;
        }
        stats[2 * g] = all.mean;
        stats[2 * g + 1] = 1 / sqrt(all.squares * plan->groups / count + eps);
    }
}

/* Memory for each thread, and how the work is cut: whole images, or pieces where images are few.

A thread's memory begins with what belongs to the image, and is its own after that.
*/
typedef struct {
    char *memory;
    int64_t shared, bytes; /* of an image; of a thread in all */
    int threads, inside;
} Team;

static inline int64_t lines(int64_t bytes) { return (bytes + 63) / 64 * 64; }

static inline int team_of(Team *team, int64_t samples, const Plan *plan, int64_t shared,
                          int64_t own, int64_t threads) {
    if (samples * plan->numbers < 1 << 16) threads = 1; /* less than it takes to wake a thread */
    *team = (Team){NULL, lines(shared), lines(shared) + lines(own), threads,
                   threads > 1 && plan->pieces > 1 && samples < 4 * threads};
    team->memory = aligned_alloc(64, team->bytes * threads);
    return team->memory != NULL;
}

typedef void (*EachImage)(const void *task, int64_t sample, const Team *team, char *memory);
typedef void (*EachPiece)(const void *image, int64_t piece, char *memory);

static inline void each_image(EachImage work, const void *task, int64_t samples, const Team *team) {
    if (team->inside || team->threads == 1) {
        for (int64_t n = 0; n < samples; n++) work(task, n, team, team->memory);
        return;
    }
#pragma omp parallel for num_threads(team->threads) schedule(static)
    for (int64_t n = 0; n < samples; n++)
        work(task, n, team, team->memory + team->bytes * omp_get_thread_num());
}

static inline void each_piece(EachPiece work, const void *image, int64_t pieces, const Team *team,
                              char *memory) {
    if (!team->inside) {
        for (int64_t p = 0; p < pieces; p++) work(image, p, memory + team->shared);
        return;
    }
#pragma omp parallel for num_threads(team->threads) schedule(static)
    for (int64_t p = 0; p < pieces; p++)
        work(image, p, team->memory + team->bytes * omp_get_thread_num() + team->shared);
}
