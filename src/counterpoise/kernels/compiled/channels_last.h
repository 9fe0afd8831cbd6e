/* Group normalization in channels_last: moments of their groups, and threads.

A sample is `numbers` = pixels * channels numbers in a row. It is walked in rows of `width` lanes, a
multiple of the channels that fills vector registers, so that a lane is always of one channel. Every
lane has a mean and a sum of squares of its own. They are found in float for chunks of at most `rows`
rows, as sums of x - shift and of its square: the shift is the mean so far, of a few rows at first, or
where that is far off the chunk's own, from a pass before. Chunks, lanes and pieces are put together
in double (Chan, Golub and LeVeque 1983). Chunks and pieces depend on the shape alone, never on the
threads.
*/
#pragma once
#include "norm.h"

/* The same for loops over lanes: of 16 floats, 32 bfloat16s (see plan_of) and 64 of either, all that
   is added to or taken from each stays in registers. */
#define LANES(width, half, f, ...)                                \
    do {                                                          \
        if ((width) == 16) f(__VA_ARGS__, 16, 0);                 \
        else if ((width) == 32) f(__VA_ARGS__, 32, 1);            \
        else if ((width) == 64) EITHER(half, f, __VA_ARGS__, 64); \
        else EITHER(half, f, __VA_ARGS__, width);                 \
    } while (0)

INLINE int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; } /* to cache lines */

/* Memory for `count` things of a size, out of what follows `memory`; on cache lines of its own. */
INLINE void *allocate(char **memory, int64_t count, int64_t size) {
    void *here = *memory;
    *memory += aligned(count * size);
    return here;
}

enum { FEW = 8 }; /* rows, whose mean is a good guess */

typedef struct {
    int64_t channels, groups, numbers; /* of a sample */
    int64_t unit, width;               /* lanes that are added up first, lanes */
    int64_t rows;                      /* of lanes, whose sums are found in float */
    int64_t piece, pieces;             /* numbers in a piece, what one thread does at a time */
} Plan;

static inline Plan plan_of(int64_t channels, int64_t numbers, int64_t groups, int half) {
    int64_t unit = channels;
    while (unit % 16 && unit <= 256) unit += channels;
    if (unit > 256) unit = channels;
    int64_t width = (63 + unit) / unit * unit, rows = 64;
    if (unit == 16) { /* as many as one load fills */
        width = half ? 32 : 16;
        rows = half ? 128 : 256;
    }
    int64_t in_piece = (65535 + width) / width * width;
    return (Plan){channels, groups, numbers,  unit, width,
                  rows,     in_piece, (numbers + in_piece - 1) / in_piece};
}

static inline int64_t piece_length(const Plan *plan, int64_t piece) {
    return least(plan->piece, plan->numbers - piece * plan->piece);
}

/* sum[j] += x[., j], of so many rows. */
INLINE void sum_lanes(const void *restrict x, int64_t rows, float *restrict sum, int64_t width,
                      int half) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const int64_t b = (r + 1) * width, c = b + width, d = c + width;
        for (int64_t j = 0; j < width; j++)
            sum[j] += (get(x, r * width + j, half) + get(x, b + j, half)) +
                      (get(x, c + j, half) + get(x, d + j, half));
    }
    for (r = rows / 4 * 4; r < rows; r++) /* as r is, but gcc may warn of a loop that never runs */
        for (int64_t j = 0; j < width; j++) sum[j] += get(x, r * width + j, half);
}

/* rest[j] += x[., j] - mean[j] and squares[j] += (x[., j] - mean[j])^2, of so many rows. */
INLINE void square_lanes(const void *restrict x, int64_t rows, const float *restrict mean,
                         float *restrict rest, float *restrict squares, int64_t width, int half) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const int64_t b = (r + 1) * width, c = b + width, d = c + width;
        for (int64_t j = 0; j < width; j++) {
            float m = mean[j], p = get(x, r * width + j, half) - m, q = get(x, b + j, half) - m;
            float u = get(x, c + j, half) - m, v = get(x, d + j, half) - m;
            rest[j] += (p + q) + (u + v);
            squares[j] += p * p + (q * q + (u * u + v * v));
        }
    }
    for (; r < rows; r++)
        for (int64_t j = 0; j < width; j++) {
            float p = get(x, r * width + j, half) - mean[j];
            rest[j] += p;
            squares[j] += p * p;
        }
}

static inline int64_t moments_bytes(const Plan *plan) {
    return 3 * aligned(plan->width * sizeof(float)) + 2 * aligned(plan->width * sizeof(double)) +
           2 * aligned(plan->unit * sizeof(double));
}

/* mean[j] and apart[j], of `done` numbers, to those of `rows` more: shift + rest / rows and so on. */
INLINE void merge(int64_t lanes, double done, double rows, const float *restrict shift,
                  const float *restrict rest, const float *restrict squares,
                  double *restrict mean, double *restrict apart) {
    if (!rows) return;
    const double each = 1 / rows, share = rows / (done + rows), both = done * share;
    for (int64_t j = 0; j < lanes; j++) {
        double more = rest[j] * each, step = shift[j] + more - mean[j];
        mean[j] += step * share;
        apart[j] += squares[j] - rest[j] * more + step * step * both;
    }
}

/* Of so many whole rows, and of a last one's first lanes: sum_lanes, or with a shift square_lanes. */
static void add_rows(const void *x, int64_t rows, int64_t more, int64_t width, int half,
                     const float *shift, float *rest, float *squares) {
    const void *last = from(x, rows * width, half);
    if (shift) {
        LANES(width, half, square_lanes, x, rows, shift, rest, squares);
        if (more) EITHER(half, square_lanes, last, 1, shift, rest, squares, more);
    } else {
        LANES(width, half, sum_lanes, x, rows, rest);
        if (more) EITHER(half, sum_lanes, last, 1, rest, more);
    }
}

/* Whether the shift is less than two standard deviations from the mean, in every lane. */
static int near(int64_t rows, int64_t width, const float *rest, const float *squares) {
    int far = 0;
    for (int64_t j = 0; j < width; j++) far |= rest[j] * rest[j] * 1.25f > squares[j] * rows;
    return !far;
}

/* What the first lanes have, one for each channel, for the others too. */
static void repeat(float *lanes, const Plan *plan) {
    for (int64_t j = plan->channels; j < plan->width; j *= 2)
        memcpy(lanes + j, lanes, least(j, plan->width - j) * sizeof(float));
}

/* The lanes of all units onto those of the first. */
static void fold(float *restrict lanes, const Plan *plan) {
    for (int64_t b = plan->unit; b < plan->width; b += plan->unit)
        for (int64_t j = 0; j < plan->unit; j++) lanes[j] += lanes[b + j];
}

/* sums[g] += the first unit's lanes of each group. */
static void add_groups(const float *lanes, const Plan *plan, double *sums) {
    const int64_t size = plan->channels / plan->groups;
    for (int64_t j = 0; j < plan->unit;)
        for (int64_t g = 0; g < plan->groups; g++) {
            double sum = 0;
            for (int64_t end = j + size; j < end; j++) sum += lanes[j];
            sums[g] += sum;
        }
}

/* moments_of, where it is one chunk: all lanes of a group have the same shift, which is its mean but
   for rounding, and need not be put together in double each. */
static void moments_of_chunk(const void *x, int64_t n, const Plan *plan, int half, char *memory,
                             Moments *groups) {
    const int64_t width = plan->width, size = plan->channels / plan->groups;
    float *rest = allocate(&memory, width, sizeof(float)), *shift = allocate(&memory, width, sizeof(float));
    float *squares = allocate(&memory, width, sizeof(float));
    double *sums = allocate(&memory, plan->groups, sizeof(double));
    double *apart = allocate(&memory, plan->groups, sizeof(double));
    const double share = (double)plan->groups / n;
    memset(rest, 0, width * sizeof(float));
    memset(sums, 0, plan->groups * sizeof(double));
    memset(apart, 0, plan->groups * sizeof(double));
    add_rows(x, n / width, n % width, width, half, NULL, rest, NULL);
    fold(rest, plan);
    add_groups(rest, plan, sums);
    for (int64_t g = 0, c = 0; g < plan->groups; g++) {
        groups[g].mean = (float)(sums[g] * share);
        sums[g] = 0;
        for (int64_t end = c + size; c < end; c++) shift[c] = groups[g].mean;
    }
    repeat(shift, plan);
    memset(rest, 0, width * sizeof(float));
    memset(squares, 0, width * sizeof(float));
    add_rows(x, n / width, n % width, width, half, shift, rest, squares);
    fold(rest, plan);
    fold(squares, plan);
    add_groups(rest, plan, sums);
    add_groups(squares, plan, apart);
    for (int64_t g = 0; g < plan->groups; g++) {
        groups[g].mean += sums[g] * share;
        groups[g].squares = apart[g] - sums[g] * sums[g] * share;
    }
}

/* Moments of each group, of n numbers from `at` on, in a thread's memory of moments_bytes. */
static void moments_of(const void *x, int64_t at, int64_t n, const Plan *plan, int half,
                       char *memory, Moments *groups) {
    if (n < (plan->rows + 1) * plan->width) {
        moments_of_chunk(from(x, at, half), n, plan, half, memory, groups);
        return;
    }
    const int64_t width = plan->width, unit = plan->unit, size = plan->channels / plan->groups;
    float *rest = allocate(&memory, width, sizeof(float)), *shift = allocate(&memory, width, sizeof(float));
    float *squares = allocate(&memory, width, sizeof(float));
    double *restrict mean = allocate(&memory, width, sizeof(double));
    double *restrict apart = allocate(&memory, width, sizeof(double)); /* sum of (x - mean)^2 */
    double *restrict means = allocate(&memory, unit, sizeof(double));
    double *restrict all = allocate(&memory, unit, sizeof(double));
    memset(mean, 0, width * sizeof(double));
    memset(apart, 0, width * sizeof(double));
    const int64_t whole = n / width, longer = n % width; /* rows, and lanes with a number more */
    for (int64_t done = 0; done < whole || !done; done += plan->rows) {
        const int64_t rows = least(plan->rows, whole - done), more = done + rows == whole ? longer : 0;
        const void *here = from(x, at + done * width, half);
        for (int again = !done && rows <= FEW;; again = 1) {
            memset(rest, 0, width * sizeof(float));
            memset(squares, 0, width * sizeof(float));
            if (!done && !again) { /* there is no mean so far: that of a few rows */
                add_rows(here, FEW, 0, width, half, NULL, rest, NULL);
                for (int64_t j = 0; j < width; j++) shift[j] = rest[j] * (1.0f / FEW);
                memset(rest, 0, width * sizeof(float));
            } else if (again) {
                add_rows(here, rows, more, width, half, NULL, rest, NULL);
                const float one = 1.0f / (rows + !rows), another = 1.0f / (rows + 1);
                for (int64_t j = 0; j < more; j++) shift[j] = rest[j] * another;
                for (int64_t j = more; j < width; j++) shift[j] = rest[j] * one;
                memset(rest, 0, width * sizeof(float));
            } else {
                for (int64_t j = 0; j < width; j++) shift[j] = mean[j];
            }
            add_rows(here, rows, more, width, half, shift, rest, squares);
            if (again || near(rows, width, rest, squares)) break;
        }
        merge(more, done, rows + 1, shift, rest, squares, mean, apart);
        merge(width - more, done, rows, shift + more, rest + more, squares + more, mean + more,
              apart + more);
    }
    const double share = (double)plan->groups / n, count = whole, another = whole + 1;
    memset(means, 0, unit * sizeof(double));
    memset(all, 0, unit * sizeof(double));
    for (int64_t b = 0; b < width; b += unit)
        for (int64_t j = 0; j < unit; j++)
            means[j] += mean[b + j] * (b + j < longer ? another : count);
    for (int64_t g = 0; g < plan->groups; g++) groups[g] = (Moments){0, 0};
    for (int64_t j = 0; j < unit;)
        for (int64_t g = 0; g < plan->groups; g++) {
            double sum_of_group = 0;
            for (int64_t end = j + size; j < end; j++) sum_of_group += means[j];
            groups[g].mean += sum_of_group * share;
        }
    for (int64_t j = 0; j < unit;)
        for (int64_t g = 0; g < plan->groups; g++)
            for (int64_t end = j + size; j < end; j++) means[j] = groups[g].mean;
    for (int64_t b = 0; b < width; b += unit)
        for (int64_t j = 0; j < unit; j++) {
            double step = mean[b + j] - means[j];
            all[j] += apart[b + j] + step * step * (b + j < longer ? another : count);
        }
    for (int64_t j = 0; j < unit;)
        for (int64_t g = 0; g < plan->groups; g++) {
            double sum_of_group = 0;
            for (int64_t end = j + size; j < end; j++) sum_of_group += all[j];
            groups[g].squares += sum_of_group;
        }
}

/* stats[g] = (mean, 1 / sqrt(variance + eps)) out of the moments of all pieces, in their order. */
static void statistics(const Plan *plan, const Moments *pieces, double eps, double *stats) {
    const int64_t groups = plan->groups;
    double count = piece_length(plan, 0);
    memcpy(stats, pieces, groups * sizeof *pieces);
    for (int64_t p = 1; p < plan->pieces; p++) {
        const Moments *restrict piece = pieces + p * groups;
        const double n = piece_length(plan, p), share = n / (count + n);
        const double both = count * share / groups;
        for (int64_t g = 0; g < groups; g++) {
            double step = piece[g].mean - stats[2 * g];
            stats[2 * g] += step * share;
            stats[2 * g + 1] += piece[g].squares + step * step * both;
        }
        count += n;
    }
    for (int64_t g = 0; g < groups; g++)
        stats[2 * g + 1] = 1 / sqrt(stats[2 * g + 1] * groups / count + eps);
}

/* Memory for each thread, and how the work is cut: whole samples, or pieces where samples are few.

A thread's memory begins with what belongs to the sample, and is its own after that.
*/
typedef struct {
    char *memory;
    int64_t shared, bytes; /* of a sample; of a thread in all */
    int threads, inside;
} Team;

static inline int team_of(Team *team, int64_t samples, const Plan *plan, int64_t shared,
                          int64_t own, int64_t threads) {
    if (samples * plan->numbers < 1 << 15) threads = 1; /* less than it takes to wake a thread */
    *team = (Team){NULL, aligned(shared), aligned(shared) + aligned(own), threads,
                   threads > 1 && plan->pieces > 1 && samples < 4 * threads};
    team->memory = aligned_alloc(64, team->bytes * threads);
    return team->memory != NULL;
}

typedef void (*EachSample)(const void *task, int64_t sample, const Team *team, char *memory);
typedef void (*EachPiece)(const void *sample, int64_t piece, char *memory);

static inline void each_sample(EachSample work, const void *task, int64_t samples, const Team *team) {
    if (team->inside || team->threads == 1) {
        for (int64_t n = 0; n < samples; n++) work(task, n, team, team->memory);
        return;
    }
#pragma omp parallel for num_threads(team->threads) schedule(static)
    for (int64_t n = 0; n < samples; n++)
        work(task, n, team, team->memory + team->bytes * omp_get_thread_num());
}

/* Backwards, so that a second walk begins with what the first one left in the cache. */
static inline void each_piece(EachPiece work, const void *sample, int64_t pieces, int backwards,
                              const Team *team, char *memory) {
    if (!team->inside) {
        for (int64_t p = 0; p < pieces; p++)
            work(sample, backwards ? pieces - 1 - p : p, memory + team->shared);
        return;
    }
#pragma omp parallel num_threads(team->threads)
    {
        int64_t thread = omp_get_thread_num(), all = omp_get_num_threads();
        int64_t first = pieces * thread / all, end = pieces * (thread + 1) / all;
        for (int64_t p = first; p < end; p++)
            work(sample, backwards ? first + end - 1 - p : p,
                 team->memory + team->bytes * thread + team->shared);
    }
}
