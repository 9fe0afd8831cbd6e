/* Layer normalization over all of (C, H, W) of tensors whose memory is ordered N, H, W, C.

    y  = weight * (x - mean) * rstd + bias,  rstd = 1 / sqrt(var + eps)
    dx = rstd * (weight * dy - mean(weight * dy) - xhat * mean(weight * dy * xhat))
    dweight = sum(dy * xhat),  dbias = sum(dy),  xhat = (x - mean) * rstd

with the means over an image's numbers, the sums over the samples. The order of an image's numbers
does not matter to the means, so only weight and bias change theirs: a block of some pixels at a
time, which all samples then use. As in group normalization a mean is taken away in two steps.
*/
#include "../_compiled/channels_last.h"

enum { SAMPLES = 16, TOGETHER = 4 }; /* as many are added up in float, and read at once */

typedef struct {
    const void *x, *dy;
    const void *weight, *bias; /* (C, H, W); NULL for ones and zeros */
    void *y, *dx, *dweight, *dbias;
    double *stats; /* (N, 2): mean, rstd */
    double *sums;  /* (blocks, N, 2): of weight * dy, and of weight * dy * (x - mean) */
    double eps;
    int64_t samples, channels, pixels, block; /* of pixels, in a block */
    int half, low;                            /* x in bfloat16, weight in bfloat16 */
    Plan plan;
} Task;

typedef struct {
    const Task *task;
    int64_t begin; /* of the image in x */
    Moments *moments;
} Image;

static void moments_piece(const void *of, int64_t p, char *memory) {
    const Image *image = of;
    const Plan *plan = &image->task->plan;
    moments_of(image->task->x, image->begin + p * plan->piece, piece_length(plan, p), plan,
               image->task->half, memory, image->moments + p);
}

static void statistics_image(const void *of, int64_t sample, const Team *team, char *memory) {
    const Task *task = of;
    Image image = {task, sample * task->plan.numbers, (Moments *)memory};
    each_piece(moments_piece, &image, task->plan.pieces, 0, team, memory);
    statistics(&task->plan, image.moments, task->eps, task->stats + 2 * sample);
}

/* A block's part of a parameter in the order of x; `constant` where there is no parameter. */
INLINE void taken(float *restrict to, const void *restrict from, float constant,
                  const Task *task, int64_t first, int64_t pixels, int low) {
    const int64_t channels = task->channels;
    if (!from)
        for (int64_t i = 0; i < channels * pixels; i++) to[i] = constant;
    else
        for (int64_t p = 0; p < pixels; p += 16) /* a cache line at a time */
            for (int64_t c = 0; c < channels; c++)
                for (int64_t k = p; k < least(p + 16, pixels); k++)
                    to[k * channels + c] = parameter(from, c * task->pixels + first + k, low);
}

/* The way back, for a gradient. */
INLINE void given(const double *restrict sums, void *restrict gradient, const Task *task,
                  int64_t first, int64_t pixels, int low) {
    const int64_t channels = task->channels;
    for (int64_t p = 0; p < pixels; p += 16)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t k = p; k < least(p + 16, pixels); k++)
                put(gradient, c * task->pixels + first + k, sums[k * channels + c], low);
}

INLINE void forward_numbers(const void *restrict x, void *restrict y, int64_t n,
                            const double *stats, const float *restrict weight,
                            const float *restrict bias, int half) {
    const float mean = stats[0], rstd = stats[1], rest = (mean - stats[0]) * stats[1];
    for (int64_t i = 0; i < n; i++)
        put(y, i, ((get(x, i, half) - mean) * rstd + rest) * weight[i] + bias[i], half);
}

static void forward_block(const Task *task, int64_t first, char *memory) {
    const int64_t pixels = least(task->block, task->pixels - first), n = pixels * task->channels;
    float *weight = part(&memory, n, sizeof(float)), *bias = part(&memory, n, sizeof(float));
    EITHER(task->low, taken, weight, task->weight, 1, task, first, pixels);
    EITHER(task->low, taken, bias, task->bias, 0, task, first, pixels);
    for (int64_t s = 0; s < task->samples; s++) {
        int64_t at = s * task->plan.numbers + first * task->channels;
        EITHER(task->half, forward_numbers, from(task->x, at, task->half),
               (void *)from(task->y, at, task->half), n, task->stats + 2 * s, weight, bias);
    }
}

/* sums = (that of weight * dy, that of weight * dy * (x - mean)) */
INLINE void sum_numbers(const void *restrict dy, const void *restrict x, int64_t n, float mean,
                        const float *restrict weight, double *sums, int half) {
    double all = 0, all_both = 0;
    for (int64_t b = 0; b < n; b += 1024) {
        float sum = 0, both = 0;
#pragma omp simd reduction(+ : sum, both)
        for (int64_t i = b; i < least(b + 1024, n); i++) {
            float g = weight[i] * get(dy, i, half);
            sum += g;
            both += g * (get(x, i, half) - mean);
        }
        all += sum;
        all_both += both;
    }
    sums[0] = all;
    sums[1] = all_both;
}

static void sums_block(const Task *task, int64_t first, char *memory) {
    const int64_t pixels = least(task->block, task->pixels - first), n = pixels * task->channels;
    float *weight = part(&memory, n, sizeof(float));
    EITHER(task->low, taken, weight, task->weight, 1, task, first, pixels);
    double *sums = task->sums + first / task->block * task->samples * 2;
    for (int64_t s = 0; s < task->samples; s++) {
        int64_t at = s * task->plan.numbers + first * task->channels;
        EITHER(task->half, sum_numbers, from(task->dy, at, task->half),
               from(task->x, at, task->half), n, task->stats[2 * s], weight, sums + 2 * s);
    }
}

/* Of all blocks, in their order, into the first: the means of weight * dy (* xhat) / -rstd. */
static void means_of(const Task *task) {
    const int64_t all = 2 * task->samples, blocks = (task->pixels - 1) / task->block + 1;
    for (int64_t b = 1; b < blocks; b++)
        for (int64_t i = 0; i < all; i++) task->sums[i] += task->sums[b * all + i];
    for (int64_t i = 0; i < all; i += 2) {
        const double rstd = task->stats[i + 1], rest = task->stats[i] - (float)task->stats[i];
        double *sums = task->sums + i;
        sums[1] = (rest * sums[0] - sums[1]) * rstd * rstd / task->plan.numbers;
        sums[0] = -sums[0] * rstd / task->plan.numbers;
    }
}

/* Of so many samples at once, each `next` numbers after the other: of_both and of_dy then come and go
   once. */
INLINE void backward_numbers(const void *dy, const void *x, void *dx, int64_t n, int64_t next,
                             const double *stats, const double *means, const float *weight,
                             float *restrict of_both, float *restrict of_dy, int many, int half) {
    float mean[TOGETHER], rstd[TOGETHER], rest[TOGETHER], of_xhat[TOGETHER], plus[TOGETHER];
    for (int k = 0; k < many; k++) {
        mean[k] = stats[2 * k];
        rstd[k] = stats[2 * k + 1];
        rest[k] = (mean[k] - stats[2 * k]) * stats[2 * k + 1];
        plus[k] = means[2 * k];
        of_xhat[k] = means[2 * k + 1];
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float sum = 0, both = 0;
#pragma GCC unroll 8
        for (int k = 0; k < many; k++) {
            const int64_t at = k * next + i;
            float d = get(dy, at, half), xhat = (get(x, at, half) - mean[k]) * rstd[k] + rest[k];
            both += d * xhat;
            sum += d;
            if (dx) put(dx, at, d * weight[i] * rstd[k] + (xhat * of_xhat[k] + plus[k]), half);
        }
        of_both[i] += both;
        of_dy[i] += sum;
    }
}

static void backward_block(const Task *task, int64_t first, char *memory) {
    const int64_t pixels = least(task->block, task->pixels - first), n = pixels * task->channels;
    float *weight = part(&memory, n, sizeof(float));
    float *restrict both = part(&memory, n, sizeof(float));
    float *restrict dy = part(&memory, n, sizeof(float));
    double *restrict all_both = part(&memory, n, sizeof(double));
    double *restrict all_dy = part(&memory, n, sizeof(double));
    EITHER(task->low, taken, weight, task->weight, 1, task, first, pixels);
    memset(all_both, 0, n * sizeof(double));
    memset(all_dy, 0, n * sizeof(double));
    for (int64_t s = 0; s < task->samples;) {
        memset(both, 0, n * sizeof(float));
        memset(dy, 0, n * sizeof(float));
        for (int64_t end = least(s + SAMPLES, task->samples); s < end;) {
            const int64_t next = task->plan.numbers, at = s * next + first * task->channels;
            const void *grad = from(task->dy, at, task->half), *x = from(task->x, at, task->half);
            void *dx = task->dx ? (void *)from(task->dx, at, task->half) : NULL;
            const double *stats = task->stats + 2 * s, *means = task->sums + 2 * s;
            const int many = s + TOGETHER <= end ? TOGETHER : 1;
            if (many == 1)
                EITHER(task->half, backward_numbers, grad, x, dx, n, next, stats, means, weight,
                       both, dy, 1);
            else
                EITHER(task->half, backward_numbers, grad, x, dx, n, next, stats, means, weight,
                       both, dy, TOGETHER);
            s += many;
        }
        for (int64_t i = 0; i < n; i++) {
            all_both[i] += both[i];
            all_dy[i] += dy[i];
        }
    }
    if (task->dweight) EITHER(task->low, given, all_both, task->dweight, task, first, pixels);
    if (task->dbias) EITHER(task->low, given, all_dy, task->dbias, task, first, pixels);
}

static void each_block(void (*work)(const Task *, int64_t, char *), const Task *task,
                       const Team *team) {
#pragma omp parallel for num_threads(team->threads) schedule(static)
    for (int64_t first = 0; first < task->pixels; first += task->block)
        work(task, first, team->memory + team->bytes * omp_get_thread_num());
}

static Task task_of(const void *x, const void *weight, double *stats, int64_t samples,
                    int64_t channels, int64_t pixels, int64_t half, int64_t low) {
    int64_t block = 1024 / channels / 16 * 16;
    return (Task){.x = x, .weight = weight, .stats = stats, .samples = samples,
                  .channels = channels, .pixels = pixels, .block = block ? block : 16,
                  .half = half, .low = low, .plan = plan_of(1, channels * pixels, 1, half)};
}

/* Both return 0, and 1 where there was no memory; `half`: x is in bfloat16, `low`: weight is. */
int64_t layer_norm_forward(const void *x, const void *weight, const void *bias, void *y,
                           double *stats, int64_t samples, int64_t channels, int64_t pixels,
                           double eps, int64_t half, int64_t low, int64_t threads) {
    Task task = task_of(x, weight, stats, samples, channels, pixels, half, low);
    task.bias = bias;
    task.y = y;
    task.eps = eps;
    Team team;
    int64_t of_block = lines(task.block * channels * sizeof(float));
    if (!team_of(&team, samples, &task.plan, task.plan.pieces * sizeof(Moments),
                 moments_bytes(&task.plan) + 2 * of_block, threads))
        return 1;
    each_image(statistics_image, &task, samples, &team);
    each_block(forward_block, &task, &team);
    free(team.memory);
    return 0;
}

int64_t layer_norm_backward(const void *dy, const void *x, const void *weight, double *stats,
                            void *dx, void *dweight, void *dbias, int64_t samples,
                            int64_t channels, int64_t pixels, int64_t half, int64_t low,
                            int64_t threads) {
    Task task = task_of(x, weight, stats, samples, channels, pixels, half, low);
    task.dy = dy;
    task.dx = dx;
    task.dweight = dweight;
    task.dbias = dbias;
    Team team;
    int64_t of_block = lines(task.block * channels * sizeof(float));
    if (!team_of(&team, samples, &task.plan, 0, 7 * of_block, threads)) return 1;
    int64_t blocks = (pixels - 1) / task.block + 1;
    task.sums = malloc(blocks * samples * 2 * sizeof(double));
    if (task.sums) {
        each_block(sums_block, &task, &team);
        means_of(&task);
        each_block(backward_block, &task, &team);
    }
    free(task.sums);
    free(team.memory);
    return task.sums == NULL;
}
