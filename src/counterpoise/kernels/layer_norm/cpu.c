/* Layer and RMS normalization of rows of numbers, also of images whose memory is ordered H, W, C.

    y  = weight * (x - mean) * rstd + bias,  rstd = 1 / sqrt(var + eps)
    dx = rstd * (weight * dy - mean(weight * dy) - xhat * mean(weight * dy * xhat))
    dweight = sum(dy * xhat),  dbias = sum(dy),  xhat = (x - mean) * rstd

with the means over a row, the sums over the rows. RMS normalization takes 0 for the mean and for
mean(weight * dy). A mean is kept in double, and taken away in two steps: its float, which is exact
where x is near it, and the rest.

A row is `channels` * `pixels` numbers, pixel by pixel; weight and bias have them channel by channel.
Short rows are worked one after the other while they are in the cache, some of them by a thread at a
time. Long ones, whose parameters do not stay there, are cut into blocks of some pixels, of which all
rows are worked at once; their moments come first. Blocks depend on the shape alone, never on the
threads.
*/
#include "../compiled/norm.h"

/* Numbers in a short row, and in a long one's block; rows that are added up in float, and that are
   read at once; groups of short rows; floats that a thread has for each number of a block. */
enum { SHORT = 8192, BLOCK = 1024, IN_FLOAT = 16, TOGETHER = 4, ROW_GROUPS = 16, AT_ONCE = 7 };

typedef struct {
    const void *x, *dy;
    const void *weight, *bias; /* NULL for ones and zeros */
    void *y, *dx, *dweight, *dbias;
    double *stats;  /* (rows, 2): mean, rstd */
    double *sums;   /* (blocks, rows, 2): see sum_block and means_of */
    double *totals; /* (row_groups, 2, numbers), where there are several: dweight, dbias */
    float *memory;  /* AT_ONCE * lanes for each thread */
    double eps, each;                          /* 1 / numbers */
    int64_t rows, channels, pixels, numbers;   /* of a row */
    int64_t block, blocks, lanes;              /* pixels in a block */
    int64_t rows_per_group, row_groups;        /* what one thread does at a time */
    int centred, half, low, threads;           /* x in bfloat16, weight in bfloat16 */
} Task;

static void statistics_of(const Task *task, int64_t row) {
    const void *x = from(task->x, row * task->numbers, task->half);
    const Moments found = task->half ? moments_of_run(x, task->numbers, task->centred, 1)
                                     : moments_of_run(x, task->numbers, task->centred, 0);
    task->stats[2 * row] = found.mean;
    task->stats[2 * row + 1] = 1 / sqrt(found.squares * task->each + task->eps);
}

/* n numbers of a parameter from a pixel on, in the order of x; `constant` where there is none. */
INLINE void reorder(const void *restrict parameters, float *restrict to, const Task *task,
                    int64_t first, int64_t n, int low) {
    const int64_t channels = task->channels, pixels = n / channels;
    for (int64_t p = 0; p < pixels; p += 16) /* a cache line at a time */
        for (int64_t c = 0; c < channels; c++)
            for (int64_t k = p; k < least(p + 16, pixels); k++)
                to[k * channels + c] = parameter(parameters, c * task->pixels + first + k, low);
}

static const float *in_order(const void *parameters, float *restrict to, float constant,
                             const Task *task, int64_t first, int64_t n) {
    if (parameters && task->channels == 1 && !task->low) return (const float *)parameters + first;
    if (parameters) EITHER(task->low, reorder, parameters, to, task, first, n);
    for (int64_t i = 0; i < n && !parameters; i++) to[i] = constant;
    return to;
}

/* The way back, for a gradient. */
INLINE void give_one(const double *restrict sums, void *restrict gradient, const Task *task,
                     int64_t first, int64_t n, int low) {
    const int64_t channels = task->channels, pixels = n / channels;
    for (int64_t p = 0; p < pixels && gradient; p += 16)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t k = p; k < least(p + 16, pixels); k++)
                put(gradient, c * task->pixels + first + k, sums[k * channels + c], low);
}

static void give(const Task *task, const double *sums, int64_t first, int64_t n) {
    EITHER(task->low, give_one, sums, task->dweight, task, first, n);
    EITHER(task->low, give_one, sums + n, task->dbias, task, first, n);
}

INLINE void forward_numbers(const void *restrict x, void *restrict y, int64_t n,
                            const double *stats, const float *restrict weight,
                            const float *restrict bias, int half) {
    const float mean = stats[0], rstd = stats[1], rest = (mean - stats[0]) * stats[1];
    int64_t i = 0;
    for (; i + LANE <= n; i += LANE) {
        const Vec xhat = (load(x, i, half) - mean) * rstd + rest;
        store(y, i, xhat * load(weight, i, 0) + load(bias, i, 0), half);
    }
    for (; i < n; i++)
        put(y, i, ((get(x, i, half) - mean) * rstd + rest) * weight[i] + bias[i], half);
}

/* Of so many rows at once, each `next` numbers after the other: of_both and of_dy then come and go
   once. */
INLINE void backward_numbers(const void *restrict dy, const void *restrict x, void *restrict dx,
                             int64_t n, int64_t next, const double *stats, const double *means,
                             const float *restrict weight, float *restrict of_both,
                             float *restrict of_dy, int many, int half) {
    float mean[TOGETHER], rstd[TOGETHER], rest[TOGETHER], of_xhat[TOGETHER], plus[TOGETHER];
    for (int k = 0; k < many; k++) {
        mean[k] = stats[2 * k];
        rstd[k] = stats[2 * k + 1];
        rest[k] = (mean[k] - stats[2 * k]) * stats[2 * k + 1];
        plus[k] = means[2 * k];
        of_xhat[k] = means[2 * k + 1];
    }
    int64_t i = 0;
    for (; i + LANE <= n; i += LANE) {
        const Vec w = load(weight, i, 0);
        Vec sum = load(of_dy, i, 0), both = load(of_both, i, 0);
#pragma GCC unroll 8
        for (int k = 0; k < many; k++) {
            const Vec d = load(dy, k * next + i, half);
            const Vec xhat = (load(x, k * next + i, half) - mean[k]) * rstd[k] + rest[k];
            both += d * xhat;
            sum += d;
            if (dx)
                store(dx, k * next + i, d * w * rstd[k] + (xhat * of_xhat[k] + plus[k]), half);
        }
        store(of_both, i, both, 0);
        store(of_dy, i, sum, 0);
    }
#pragma omp simd
    for (int64_t j = i; j < n; j++) {
        float sum = 0, both = 0;
#pragma GCC unroll 8
        for (int k = 0; k < many; k++) {
            const int64_t at = k * next + j;
            const float d = get(dy, at, half), xhat = (get(x, at, half) - mean[k]) * rstd[k] + rest[k];
            both += d * xhat;
            sum += d;
            if (dx) put(dx, at, d * weight[j] * rstd[k] + (xhat * of_xhat[k] + plus[k]), half);
        }
        of_both[j] += both;
        of_dy[j] += sum;
    }
}

/* The sums of weight * dy and of weight * dy * (x - mean) of a row's block. */
static void sum_block(const Task *task, int64_t row, int64_t block, int64_t n, const float *weight) {
    const int64_t at = row * task->numbers + block * task->block * task->channels;
    double *sums = task->sums + 2 * (block * task->rows + row);
    sums[0] = sums[1] = 0;
    EITHER(task->half, add_products, from(task->dy, at, task->half), from(task->x, at, task->half), n,
           task->stats[2 * row], weight, sums);
}

/* Of a row's sums, into those of its first block: the means of weight * dy and weight * dy * xhat,
   times -rstd. */
static void means_of(const Task *task, int64_t row) {
    const double *stats = task->stats + 2 * row, rest = stats[0] - (float)stats[0];
    double *sums = task->sums + 2 * row;
    for (int64_t k = 1; k < task->blocks; k++)
        for (int i = 0; i < 2; i++) sums[i] += sums[2 * k * task->rows + i];
    sums[1] = (rest * sums[0] - sums[1]) * stats[1] * stats[1] * task->each;
    sums[0] = task->centred ? -sums[0] * stats[1] * task->each : 0;
}

/* Where a block begins, and how many numbers it has. */
static int64_t first_of(const Task *task, int64_t block, int64_t *n) {
    const int64_t first = block * task->block;
    *n = least(task->block, task->pixels - first) * task->channels;
    return first;
}

/* A row group's share of a block. */
static void forward_block(const Task *task, int64_t block, int64_t row_group, float *memory) {
    int64_t n, first = first_of(task, block, &n);
    const float *weight = in_order(task->weight, memory, 1, task, first, n);
    const float *bias = in_order(task->bias, memory + task->lanes, 0, task, first, n);
    const int64_t end = least((row_group + 1) * task->rows_per_group, task->rows);
    for (int64_t row = row_group * task->rows_per_group; row < end; row++) {
        const int64_t at = row * task->numbers + first * task->channels;
        if (task->blocks == 1) statistics_of(task, row);
        EITHER(task->half, forward_numbers, from(task->x, at, task->half),
               (void *)from(task->y, at, task->half), n, task->stats + 2 * row, weight, bias);
    }
}

static void sums_block(const Task *task, int64_t block, int64_t row_group, float *memory) {
    int64_t n, first = first_of(task, block, &n);
    const float *weight = in_order(task->weight, memory, 1, task, first, n);
    (void)row_group;
    for (int64_t row = 0; row < task->rows; row++) sum_block(task, row, block, n, weight);
}

static void backward_block(const Task *task, int64_t block, int64_t row_group, float *memory) {
    int64_t n, first = first_of(task, block, &n);
    const float *weight = in_order(task->weight, memory, 1, task, first, n);
    const int64_t end = least((row_group + 1) * task->rows_per_group, task->rows);
    float *restrict both = memory + task->lanes, *restrict dy = both + task->lanes;
    double *restrict all_both =
        task->totals ? task->totals + 2 * n * row_group : (double *)(dy + task->lanes);
    double *restrict all_dy = all_both + n;
    memset(all_both, 0, 2 * n * sizeof(double));
    for (int64_t row = row_group * task->rows_per_group; row < end;) {
        memset(both, 0, n * sizeof(float));
        memset(dy, 0, n * sizeof(float));
        for (int64_t stop = least(row + IN_FLOAT, end); row < stop;) {
            const int64_t next = task->numbers, at = row * next + first * task->channels;
            const void *grad = from(task->dy, at, task->half), *x = from(task->x, at, task->half);
            void *dx = task->dx ? (void *)from(task->dx, at, task->half) : NULL;
            const double *stats = task->stats + 2 * row, *means = task->sums + 2 * row;
            const int many = row + TOGETHER <= stop ? TOGETHER : 1;
            for (int64_t k = row; task->blocks == 1 && k < row + many; k++) {
                sum_block(task, k, 0, n, weight);
                means_of(task, k);
            }
            if (many == 1)
                EITHER(task->half, backward_numbers, grad, x, dx, n, next, stats, means, weight,
                       both, dy, 1);
            else
                EITHER(task->half, backward_numbers, grad, x, dx, n, next, stats, means, weight,
                       both, dy, TOGETHER);
            row += many;
        }
        for (int64_t i = 0; i < n; i++) {
            all_both[i] += both[i];
            all_dy[i] += dy[i];
        }
    }
    if (!task->totals) give(task, all_both, first, n);
}

/* Every block of every row group, or of the one that there is of long rows. */
static void each_block(void (*work)(const Task *, int64_t, int64_t, float *), const Task *task) {
    const int64_t all = task->blocks * task->row_groups;
#pragma omp parallel for num_threads(task->threads) schedule(static) if (task->threads > 1)
    for (int64_t k = 0; k < all; k++)
        work(task, k / task->row_groups, k % task->row_groups,
             task->memory + omp_get_thread_num() * AT_ONCE * task->lanes);
}

static Task task_of(const void *x, const void *weight, double *stats, int64_t rows,
                    int64_t channels, int64_t pixels, int64_t centred, int64_t half, int64_t low,
                    int64_t threads) {
    const int64_t numbers = channels * pixels, some = BLOCK / channels / 16 * 16;
    const int64_t block = numbers <= SHORT ? pixels : some ? some : 16;
    const int64_t blocks = (pixels + block - 1) / block;
    const int64_t some_rows = blocks == 1 ? (rows + ROW_GROUPS - 1) / ROW_GROUPS : rows;
    const int64_t rows_per_group = (some_rows + IN_FLOAT - 1) / IN_FLOAT * IN_FLOAT;
    if (rows * numbers < 1 << 15) threads = 1; /* less than it takes to wake a thread */
    return (Task){.x = x, .weight = weight, .stats = stats, .rows = rows, .channels = channels,
                  .pixels = pixels, .numbers = numbers, .each = 1.0 / numbers, .block = block,
                  .blocks = blocks, .rows_per_group = rows_per_group,
                  .row_groups = (rows + rows_per_group - 1) / rows_per_group,
                  .centred = centred, .half = half, .low = low, .threads = threads,
                  .lanes = (block * channels + 15) / 16 * 16};
}

/* Both return 0, and 1 where there was no memory; x is `centred`, or else its mean taken for 0;
   `half`: x is in bfloat16, `low`: weight is. */
int64_t layer_norm_forward(const void *x, const void *weight, const void *bias, void *y,
                           double *stats, int64_t rows, int64_t channels, int64_t pixels,
                           int64_t centred, double eps, int64_t half, int64_t low,
                           int64_t threads) {
    Task task = task_of(x, weight, stats, rows, channels, pixels, centred, half, low, threads);
    task.bias = bias;
    task.y = y;
    task.eps = eps;
    task.memory = aligned_alloc(64, task.threads * AT_ONCE * task.lanes * sizeof(float));
    if (!task.memory) return 1;
    if (task.blocks > 1) {
#pragma omp parallel for num_threads(task.threads) schedule(static) if (task.threads > 1)
        for (int64_t row = 0; row < rows; row++) statistics_of(&task, row);
    }
    each_block(forward_block, &task);
    free(task.memory);
    return 0;
}

int64_t layer_norm_backward(const void *dy, const void *x, const void *weight, double *stats,
                            void *dx, void *dweight, void *dbias, int64_t rows, int64_t channels,
                            int64_t pixels, int64_t centred, int64_t half, int64_t low,
                            int64_t threads) {
    Task task = task_of(x, weight, stats, rows, channels, pixels, centred, half, low, threads);
    task.dy = dy;
    task.dx = dx;
    task.dweight = dweight;
    task.dbias = dbias;
    const int64_t of_totals = task.row_groups > 1 ? 2 * task.row_groups * task.numbers : 0;
    double *doubles = malloc((of_totals + 2 * task.blocks * rows) * sizeof(double));
    task.memory = aligned_alloc(64, task.threads * AT_ONCE * task.lanes * sizeof(float));
    const int missing = !doubles || !task.memory;
    if (!missing) {
        task.sums = doubles + of_totals;
        task.totals = of_totals ? doubles : NULL;
        if (task.blocks > 1) {
            each_block(sums_block, &task);
            for (int64_t row = 0; row < rows; row++) means_of(&task, row);
        }
        each_block(backward_block, &task);
        for (int64_t k = 2 * task.numbers; k < of_totals; k += 2 * task.numbers)
            for (int64_t i = 0; i < 2 * task.numbers; i++) doubles[i] += doubles[k + i];
        if (of_totals) give(&task, doubles, 0, task.numbers);
    }
    free(doubles);
    free(task.memory);
    return missing;
}
