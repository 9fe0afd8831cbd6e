/* Group normalization of (N, C, pixels) tensors whose memory is ordered so, or N, pixels, C.

    y  = weight * (x - mean) * rstd + bias,  rstd = 1 / sqrt(var + eps)
    dx = rstd * (weight * dy - mean(weight * dy) - xhat * mean(weight * dy * xhat))
    dweight = sum(dy * xhat),  dbias = sum(dy),  xhat = (x - mean) * rstd

with the means over a group's channels and pixels. A mean is kept in double, and taken away in two
steps: its float, which is exact where x is near it, and within what is added later the rest.
*/
#include "../compiled/channels_last.h"

typedef struct {
    const void *x, *dy;
    const void *weight, *bias; /* NULL for ones and zeros */
    void *y, *dx;
    double *stats; /* (N, groups, 2): mean, rstd */
    double *sums;  /* (N, channels, 2): of dy, and of dy * xhat */
    double eps;
    int half, low; /* x in bfloat16, weight in bfloat16 */
    Plan plan;
} Task;

static double weight_of(const Task *task, int64_t channel) {
    return task->weight ? parameter(task->weight, channel, task->low) : 1;
}

typedef struct {
    const Task *task;
    int64_t begin;                     /* of the sample in x */
    float *mean, *of_x, *of_dy, *plus; /* of each lane */
    Moments *moments;                  /* (pieces, groups), in the forward pass */
    double *partial;                   /* (pieces, channels, 2), in the backward pass */
} Sample;

static Sample sample_of(const Task *task, int64_t n, char *memory) {
    Sample sample = {.task = task, .begin = n * task->plan.numbers};
    sample.mean = allocate(&memory, task->plan.width, sizeof(float));
    sample.of_x = allocate(&memory, task->plan.width, sizeof(float));
    sample.of_dy = allocate(&memory, task->plan.width, sizeof(float));
    sample.plus = allocate(&memory, task->plan.width, sizeof(float));
    sample.moments = (Moments *)memory;
    sample.partial = (double *)memory;
    return sample;
}

static int64_t sample_bytes(const Plan *plan, int64_t of_piece) {
    return 4 * aligned(plan->width * sizeof(float)) + plan->pieces * of_piece * 2 * sizeof(double);
}

static void moments_piece(const void *of, int64_t p, char *memory) {
    const Sample *sample = of;
    const Plan *plan = &sample->task->plan;
    moments_of(sample->task->x, sample->begin + p * plan->piece, piece_length(plan, p), plan,
               sample->task->half, memory, sample->moments + p * plan->groups);
}

/* y = of_x * (x - mean) + plus, of n numbers: so many lanes again and again */
INLINE void forward_rows(const void *restrict x, void *restrict y, int64_t n,
                         const float *restrict mean, const float *restrict of_x,
                         const float *restrict plus, int64_t width, int half) {
    int64_t i = 0;
    for (; i + width <= n; i += width)
        for (int64_t j = 0; j < width; j++)
            put(y, i + j, (get(x, i + j, half) - mean[j]) * of_x[j] + plus[j], half);
    for (int64_t j = 0; i + j < n; j++)
        put(y, i + j, (get(x, i + j, half) - mean[j]) * of_x[j] + plus[j], half);
}

static void forward_piece(const void *of, int64_t p, char *memory) {
    (void)memory;
    const Sample *sample = of;
    const Task *task = sample->task;
    int64_t at = sample->begin + p * task->plan.piece, n = piece_length(&task->plan, p);
    LANES(task->plan.width, task->half, forward_rows, from(task->x, at, task->half),
          (void *)from(task->y, at, task->half), n, sample->mean, sample->of_x, sample->plus);
}

static void forward_sample(const void *of, int64_t n, const Team *team, char *memory) {
    const Task *task = of;
    const Plan *plan = &task->plan;
    Sample sample = sample_of(task, n, memory);
    double *stats = task->stats + 2 * n * plan->groups;
    each_piece(moments_piece, &sample, plan->pieces, 0, team, memory);
    statistics(plan, sample.moments, task->eps, stats);
    int64_t size = plan->channels / plan->groups;
    for (int64_t g = 0, c = 0; g < plan->groups; g++, stats += 2)
        for (int64_t end = c + size; c < end; c++) {
            const double of_x = stats[1] * weight_of(task, c);
            sample.mean[c] = stats[0];
            sample.of_x[c] = of_x;
            sample.plus[c] = (task->bias ? parameter(task->bias, c, task->low) : 0) -
                            (stats[0] - sample.mean[c]) * of_x;
        }
    repeat(sample.mean, plan);
    repeat(sample.of_x, plan);
    repeat(sample.plus, plan);
    each_piece(forward_piece, &sample, plan->pieces, 1, team, memory);
}

/* of_dy[j] += dy, of_both[j] += dy * (x - mean), of so many rows */
INLINE void sum_rows(const void *restrict dy, const void *restrict x, int64_t rows,
                     const float *restrict mean, float *restrict of_dy, float *restrict of_both,
                     int64_t width, int half) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const int64_t i = r * width, k = i + width, l = k + width, o = l + width;
        for (int64_t j = 0; j < width; j++) {
            float m = mean[j], a = get(dy, i + j, half), b = get(dy, k + j, half);
            float c = get(dy, l + j, half), d = get(dy, o + j, half);
            of_dy[j] += (a + b) + (c + d);
            of_both[j] += a * (get(x, i + j, half) - m) +
                          (b * (get(x, k + j, half) - m) +
                           (c * (get(x, l + j, half) - m) + d * (get(x, o + j, half) - m)));
        }
    }
    for (; r < rows; r++)
        for (int64_t j = 0; j < width; j++) {
            float d = get(dy, r * width + j, half);
            of_dy[j] += d;
            of_both[j] += d * (get(x, r * width + j, half) - mean[j]);
        }
}

static int64_t sums_bytes(const Plan *plan) {
    return 2 * aligned(plan->width * sizeof(float)) + 2 * aligned(plan->unit * sizeof(double));
}

/* The sums of dy and of dy * (x - mean) of a piece, for each channel. */
static void sums_piece(const void *of, int64_t p, char *memory) {
    const Sample *sample = of;
    const Task *task = sample->task;
    const Plan *plan = &task->plan;
    const int64_t width = plan->width, unit = plan->unit, channels = plan->channels;
    float *of_dy = allocate(&memory, width, sizeof(float));
    float *of_both = allocate(&memory, width, sizeof(float));
    double *restrict all_dy = allocate(&memory, unit, sizeof(double));
    double *restrict all_both = allocate(&memory, unit, sizeof(double));
    memset(all_dy, 0, unit * sizeof(double));
    memset(all_both, 0, unit * sizeof(double));
    const int64_t at = sample->begin + p * plan->piece, n = piece_length(plan, p);
    const int64_t whole = n / width, longer = n % width; /* rows, and lanes with a number more */
    for (int64_t done = 0; done < whole || !done; done += plan->rows) {
        const int64_t rows = least(plan->rows, whole - done), i = at + done * width;
        const void *dy = from(task->dy, i, task->half), *x = from(task->x, i, task->half);
        memset(of_dy, 0, width * sizeof(float));
        memset(of_both, 0, width * sizeof(float));
        LANES(width, task->half, sum_rows, dy, x, rows, sample->mean, of_dy, of_both);
        if (done + rows == whole)
            EITHER(task->half, sum_rows, from(dy, rows * width, task->half),
                   from(x, rows * width, task->half), 1, sample->mean, of_dy, of_both, longer);
        for (int64_t b = 0; b < width; b += unit)
            for (int64_t j = 0; j < unit; j++) {
                all_dy[j] += of_dy[b + j];
                all_both[j] += of_both[b + j];
            }
    }
    double *sums = sample->partial + 2 * p * channels;
    memset(sums, 0, 2 * channels * sizeof(double));
    for (int64_t b = 0; b < unit; b += channels)
        for (int64_t c = 0; c < channels; c++) {
            sums[2 * c] += all_dy[b + c];
            sums[2 * c + 1] += all_both[b + c];
        }
}

/* dx = of_dy * dy + of_x * (x - mean) + plus, of n numbers: so many lanes again and again */
INLINE void backward_rows(const void *restrict dy, const void *restrict x, void *restrict dx,
                          int64_t n, const float *restrict mean, const float *restrict of_dy,
                          const float *restrict of_x, const float *restrict plus, int64_t width,
                          int half) {
    int64_t i = 0;
    for (; i + width <= n; i += width)
        for (int64_t j = 0; j < width; j++) {
            float both = of_x[j] * (get(x, i + j, half) - mean[j]) + plus[j];
            put(dx, i + j, of_dy[j] * get(dy, i + j, half) + both, half);
        }
    for (int64_t j = 0; i + j < n; j++) {
        float both = of_x[j] * (get(x, i + j, half) - mean[j]) + plus[j];
        put(dx, i + j, of_dy[j] * get(dy, i + j, half) + both, half);
    }
}

static void backward_piece(const void *of, int64_t p, char *memory) {
    (void)memory;
    const Sample *sample = of;
    const Task *task = sample->task;
    int64_t at = sample->begin + p * task->plan.piece, n = piece_length(&task->plan, p);
    LANES(task->plan.width, task->half, backward_rows, from(task->dy, at, task->half),
          from(task->x, at, task->half), (void *)from(task->dx, at, task->half), n, sample->mean,
          sample->of_dy, sample->of_x, sample->plus);
}

static void backward_sample(const void *of, int64_t n, const Team *team, char *memory) {
    const Task *task = of;
    const Plan *plan = &task->plan;
    const int64_t channels = plan->channels, size = channels / plan->groups;
    const double *stats = task->stats + 2 * n * plan->groups;
    const double one = (double)plan->groups / plan->numbers;
    double *sums = task->sums + 2 * n * channels;
    Sample sample = sample_of(task, n, memory);
    for (int64_t g = 0, c = 0; g < plan->groups; g++)
        for (int64_t end = c + size; c < end; c++) sample.mean[c] = stats[2 * g];
    repeat(sample.mean, plan);
    each_piece(sums_piece, &sample, plan->pieces, 0, team, memory);
    memset(sums, 0, 2 * channels * sizeof(double));
    for (int64_t p = 0; p < plan->pieces; p++)
        for (int64_t c = 0; c < 2 * channels; c++) sums[c] += sample.partial[2 * p * channels + c];
    for (int64_t g = 0, c = 0; g < plan->groups; g++, c += size, stats += 2) {
        const double rstd = stats[1], rest = stats[0] - (float)stats[0];
        double mean_dy = 0, mean_both = 0; /* of weight * dy, and of weight * dy * xhat */
        for (int64_t k = c; k < c + size; k++) {
            const double weight = weight_of(task, k);
            sums[2 * k + 1] = (sums[2 * k + 1] - rest * sums[2 * k]) * rstd;
            mean_dy += weight * sums[2 * k] * one;
            mean_both += weight * sums[2 * k + 1] * one;
            sample.of_dy[k] = weight * rstd;
        }
        for (int64_t k = c; k < c + size; k++) {
            sample.of_x[k] = -rstd * rstd * mean_both;
            sample.plus[k] = rstd * (rstd * mean_both * rest - mean_dy);
        }
    }
    if (!task->dx) return;
    repeat(sample.of_dy, plan);
    repeat(sample.of_x, plan);
    repeat(sample.plus, plan);
    each_piece(backward_piece, &sample, plan->pieces, 1, team, memory);
}

/* y = of_x * (x - mean) + plus, of n numbers in a row. */
INLINE void forward_run(const void *restrict x, void *restrict y, int64_t n, float mean, float of_x,
                        float plus, int half) {
    int64_t i = 0;
    for (; i + LANE <= n; i += LANE) store(y, i, (load(x, i, half) - mean) * of_x + plus, half);
    for (; i < n; i++) put(y, i, (get(x, i, half) - mean) * of_x + plus, half);
}

/* dx = of_dy * dy + of_x * (x - mean) + plus, of n numbers in a row. */
INLINE void backward_run(const void *restrict dy, const void *restrict x, void *restrict dx,
                         int64_t n, float mean, float of_dy, float of_x, float plus, int half) {
    int64_t i = 0;
    for (; i + LANE <= n; i += LANE)
        store(dx, i, of_dy * load(dy, i, half) + (of_x * (load(x, i, half) - mean) + plus), half);
    for (; i < n; i++)
        put(dx, i, of_dy * get(dy, i, half) + (of_x * (get(x, i, half) - mean) + plus), half);
}

/* A group of a sample whose channels have their pixels in a row; forward, if there is a y. */
INLINE void contiguous_group(const Task *task, int64_t k, int half) {
    const int64_t groups = task->plan.groups, size = task->plan.channels / groups, g = k % groups;
    const int64_t pixels = task->plan.numbers / task->plan.channels, n = size * pixels;
    const void *x = from(task->x, k * n, half), *dy = from(task->dy, k * n, half);
    double *stats = task->stats + 2 * k;
    if (task->y) {
        const Moments found = moments_of_run(x, n, 1, half);
        stats[0] = found.mean;
        stats[1] = 1 / sqrt(found.squares / n + task->eps);
    }
    const float mean = stats[0];
    const double rstd = stats[1], rest = stats[0] - mean;
    for (int64_t c = size - 1; c >= 0 && task->y; c--) { /* backwards: the last is in the cache */
        const int64_t i = c * pixels;
        const double of_x = rstd * weight_of(task, g * size + c);
        const double bias = task->bias ? parameter(task->bias, g * size + c, task->low) : 0;
        forward_run(from(x, i, half), (void *)from(task->y, k * n + i, half), pixels, mean, of_x,
                    bias - rest * of_x, half);
    }
    if (task->y) return;
    double *sums = task->sums + 2 * (k / groups * task->plan.channels + g * size);
    double mean_dy = 0, mean_both = 0; /* of weight * dy, and of weight * dy * xhat */
    for (int64_t c = 0; c < size; c++) {
        double *both = sums + 2 * c;
        both[0] = both[1] = 0;
        add_products(from(dy, c * pixels, half), from(x, c * pixels, half), pixels, mean, NULL, both,
                     half);
        both[1] = (both[1] - rest * both[0]) * rstd;
        mean_dy += weight_of(task, g * size + c) * both[0] / n;
        mean_both += weight_of(task, g * size + c) * both[1] / n;
    }
    const double of_x = -rstd * rstd * mean_both, plus = rstd * (rstd * mean_both * rest - mean_dy);
    for (int64_t c = size - 1; c >= 0 && task->dx; c--) {
        const int64_t i = c * pixels;
        backward_run(from(dy, i, half), from(x, i, half), (void *)from(task->dx, k * n + i, half),
                     pixels, mean, weight_of(task, g * size + c) * rstd, of_x, plus, half);
    }
}

/* All of them, which are independent. */
static void contiguous_groups(const Task *task, int64_t samples, int64_t threads) {
    const int64_t all = samples * task->plan.groups;
    if (samples * task->plan.numbers < 1 << 15) threads = 1;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t k = 0; k < all; k++) EITHER(task->half, contiguous_group, task, k);
}

/* A parameter's gradient: the sum over the samples, in their order. */
static void add_up(void *gradient, const double *sums, int64_t samples, int64_t channels, int low,
                   double *total) {
    if (!gradient) return;
    memset(total, 0, channels * sizeof(double));
    for (int64_t n = 0; n < samples; n++)
        for (int64_t c = 0; c < channels; c++) total[c] += sums[2 * (n * channels + c)];
    for (int64_t c = 0; c < channels; c++) put(gradient, c, total[c], low);
}

/* Both return 0, and 1 where there was no memory; `last`: a pixel's channels are neighbours; `half`:
   x is in bfloat16, `low`: weight is. */
int64_t group_norm_forward(const void *x, const void *weight, const void *bias, void *y,
                           double *stats, int64_t samples, int64_t channels, int64_t pixels,
                           int64_t groups, int64_t last, double eps, int64_t half, int64_t low,
                           int64_t threads) {
    Task task = {.x = x, .weight = weight, .bias = bias, .y = y, .stats = stats, .eps = eps,
                 .half = half, .low = low,
                 .plan = plan_of(channels, channels * pixels, groups, half)};
    if (!last) {
        contiguous_groups(&task, samples, threads);
        return 0;
    }
    Team team;
    if (!team_of(&team, samples, &task.plan, sample_bytes(&task.plan, groups),
                 moments_bytes(&task.plan), threads))
        return 1;
    each_sample(forward_sample, &task, samples, &team);
    free(team.memory);
    return 0;
}

int64_t group_norm_backward(const void *dy, const void *x, const void *weight, double *stats,
                            void *dx, void *dweight, void *dbias, int64_t samples,
                            int64_t channels, int64_t pixels, int64_t groups, int64_t last,
                            int64_t half, int64_t low, int64_t threads) {
    Task task = {.x = x, .dy = dy, .weight = weight, .dx = dx, .stats = stats,
                 .half = half, .low = low,
                 .plan = plan_of(channels, channels * pixels, groups, half)};
    const Plan *plan = &task.plan;
    Team team = {0};
    double *sums = malloc((2 * samples + 1) * channels * sizeof(double));
    const int missing = !sums || (last && !team_of(&team, samples, plan, sample_bytes(plan, channels),
                                                   sums_bytes(plan), threads));
    if (!missing) {
        task.sums = sums + channels;
        if (last) each_sample(backward_sample, &task, samples, &team);
        else contiguous_groups(&task, samples, threads);
        add_up(dbias, task.sums, samples, channels, low, sums);
        add_up(dweight, task.sums + 1, samples, channels, low, sums);
    }
    free(sums);
    free(team.memory);
    return missing;
}
