/* Layer normalization over all of (C, H, W) of tensors whose memory is ordered N, H, W, C.

    y  = weight * (x - mean) * rstd + bias,  rstd = 1 / sqrt(var + eps)
    dx = rstd * (weight * dy - mean(weight * dy) - xhat * mean(weight * dy * xhat))
    dweight = sum(dy * xhat),  dbias = sum(dy),  xhat = (x - mean) * rstd

with the means over an image's numbers, the sums over the samples. The order of an image's numbers
does not matter; only weight and bias, and their gradients, change theirs. As in group
normalization a mean is taken away in two steps.
*/
#include "../_compiled/channels_last.h"

enum { BLOCK = 1024, SAMPLES = 16 }; /* numbers at a time; samples that are added up in float */

typedef struct {
    const void *x, *dy;
    const void *weight, *bias; /* in the order of x; NULL for ones and zeros */
    void *y, *dx, *dweight, *dbias;
    double *stats; /* (N, 2): mean, rstd */
    double *means; /* (N, 2): of weight * dy, and of weight * dy * xhat */
    double eps;
    int64_t samples;
    int half, low; /* x in bfloat16, weight in bfloat16 */
    Plan plan;
} Task;

typedef struct {
    const Task *task;
    int64_t begin; /* of the image in x */
    const double *stats;
    Moments *moments;
    double *partial; /* (pieces, 2) */
} Image;

/* out[c][r] = in[r][c], in blocks of a cache line each way */
#define TRANSPOSE(NAME, NUMBER)                                                                  \
    static void NAME(const NUMBER *restrict in, NUMBER *restrict out, int64_t rows,              \
                     int64_t columns, int threads) {                                             \
        _Pragma("omp parallel for num_threads(threads) schedule(static)") for (                  \
            int64_t c = 0; c < columns; c += 16) {                                               \
            for (int64_t r = 0; r < rows; r += 16)                                               \
                for (int64_t i = r; i < least(r + 16, rows); i++)                                \
                    for (int64_t j = c; j < least(c + 16, columns); j++)                         \
                        out[j * rows + i] = in[i * columns + j];                                 \
        }                                                                                        \
    }
TRANSPOSE(transpose_float, uint32_t)
TRANSPOSE(transpose_half, uint16_t)

static void transpose(const void *in, void *out, int64_t rows, int64_t columns, int low,
                      int threads) {
    if (!in || !out) return;
    if (low) transpose_half(in, out, rows, columns, threads);
    else transpose_float(in, out, rows, columns, threads);
}

static void moments_piece(const void *of, int64_t p, char *memory) {
    const Image *image = of;
    const Plan *plan = &image->task->plan;
    moments_of(image->task->x, image->begin + p * plan->piece, piece_length(plan, p), plan,
               image->task->half, memory, image->moments + p);
}

static void forward_piece(const void *of, int64_t p, char *memory) {
    const Image *image = of;
    const Task *task = image->task;
    const float mean = image->stats[0], rstd = image->stats[1];
    const float plus = (mean - image->stats[0]) * image->stats[1];
    int64_t first = p * task->plan.piece, end = first + piece_length(&task->plan, p);
    float *of_x = part(&memory, BLOCK, sizeof(float)), *out = part(&memory, BLOCK, sizeof(float));
    float *of_weight = part(&memory, BLOCK, sizeof(float));
    float *of_bias = part(&memory, BLOCK, sizeof(float));
    for (int64_t i = first; i < end; i += BLOCK) {
        int64_t n = least(BLOCK, end - i), at = image->begin + i;
        const float *restrict x = floats(task->x, at, n, task->half, of_x);
        float *restrict y = room_for(task->y, at, task->half, out);
        const float *restrict weight = NULL, *restrict bias = NULL;
        if (task->weight) weight = floats(task->weight, i, n, task->low, of_weight);
        if (task->bias) bias = floats(task->bias, i, n, task->low, of_bias);
        if (weight && bias)
            for (int64_t j = 0; j < n; j++)
                y[j] = ((x[j] - mean) * rstd + plus) * weight[j] + bias[j];
        else
            for (int64_t j = 0; j < n; j++)
                y[j] = ((x[j] - mean) * rstd + plus) * (weight ? weight[j] : 1) +
                       (bias ? bias[j] : 0);
        written(task->y, at, n, task->half, y);
    }
}

static void forward_image(const void *of, int64_t sample, const Team *team, char *memory) {
    const Task *task = of;
    double *stats = task->stats + 2 * sample;
    Image image = {task, sample * task->plan.numbers, stats, .moments = (Moments *)memory};
    each_piece(moments_piece, &image, task->plan.pieces, team, memory);
    statistics(&task->plan, image.moments, task->eps, stats);
    each_piece(forward_piece, &image, task->plan.pieces, team, memory);
}

/* The sums of weight * dy and of weight * dy * (x - mean) of a piece. */
static void sums_piece(const void *of, int64_t p, char *memory) {
    const Image *image = of;
    const Task *task = image->task;
    const float mean = image->stats[0];
    int64_t first = p * task->plan.piece, end = first + piece_length(&task->plan, p);
    float *of_x = part(&memory, BLOCK, sizeof(float)), *of_dy = part(&memory, BLOCK, sizeof(float));
    float *of_weight = part(&memory, BLOCK, sizeof(float));
    double sum = 0, both = 0;
    for (int64_t i = first; i < end; i += BLOCK) {
        int64_t n = least(BLOCK, end - i), at = image->begin + i, j = 0;
        const float *restrict x = floats(task->x, at, n, task->half, of_x);
        const float *restrict dy = floats(task->dy, at, n, task->half, of_dy);
        const float *restrict weight = NULL;
        if (task->weight) weight = floats(task->weight, i, n, task->low, of_weight);
        float some = 0, some_both = 0;
#pragma omp simd reduction(+ : some, some_both)
        for (j = 0; j < n; j++) {
            float g = weight ? dy[j] * weight[j] : dy[j];
            some += g;
            some_both += g * (x[j] - mean);
        }
        sum += some;
        both += some_both;
    }
    image->partial[2 * p] = sum;
    image->partial[2 * p + 1] = both;
}

static void sums_image(const void *of, int64_t sample, const Team *team, char *memory) {
    const Task *task = of;
    const double *stats = task->stats + 2 * sample;
    Image image = {task, sample * task->plan.numbers, stats, .partial = (double *)memory};
    each_piece(sums_piece, &image, task->plan.pieces, team, memory);
    double sum = 0, both = 0, rest = stats[0] - (float)stats[0];
    for (int64_t p = 0; p < task->plan.pieces; p++) {
        sum += image.partial[2 * p];
        both += image.partial[2 * p + 1];
    }
    task->means[2 * sample] = sum / task->plan.numbers;
    task->means[2 * sample + 1] = (both - rest * sum) * stats[1] / task->plan.numbers;
}

/* dx, dweight and dbias of the numbers from i on, of all samples. */
static void backward_block(const Task *task, int64_t i, char *memory) {
    int64_t n = least(BLOCK, task->plan.numbers - i);
    float *of_x = part(&memory, BLOCK, sizeof(float)), *of_dy = part(&memory, BLOCK, sizeof(float));
    float *of_weight = part(&memory, BLOCK, sizeof(float));
    float *restrict of_both = part(&memory, BLOCK, sizeof(float));
    float *restrict sum = part(&memory, BLOCK, sizeof(float));
    float *out = part(&memory, BLOCK, sizeof(float));
    double *both_all = part(&memory, BLOCK, sizeof(double));
    double *sum_all = part(&memory, BLOCK, sizeof(double));
    const float *restrict weight = NULL;
    if (task->weight) weight = floats(task->weight, i, n, task->low, of_weight);
    memset(both_all, 0, BLOCK * sizeof(double));
    memset(sum_all, 0, BLOCK * sizeof(double));
    for (int64_t s = 0; s < task->samples;) {
        memset(of_both, 0, BLOCK * sizeof(float));
        memset(sum, 0, BLOCK * sizeof(float));
        for (int64_t end = least(s + SAMPLES, task->samples); s < end; s++) {
            const double *stats = task->stats + 2 * s, *means = task->means + 2 * s;
            int64_t at = s * task->plan.numbers + i;
            const float mean = stats[0], rstd = stats[1], rest = (mean - stats[0]) * stats[1];
            const float of_xhat = -stats[1] * means[1], plus = -stats[1] * means[0];
            const float *restrict x = floats(task->x, at, n, task->half, of_x);
            const float *restrict dy = floats(task->dy, at, n, task->half, of_dy);
            if (task->dweight || task->dbias)
                for (int64_t j = 0; j < n; j++) {
                    of_both[j] += dy[j] * ((x[j] - mean) * rstd + rest);
                    sum[j] += dy[j];
                }
            if (!task->dx) continue;
            float *restrict dx = room_for(task->dx, at, task->half, out);
            if (weight)
                for (int64_t j = 0; j < n; j++)
                    dx[j] = dy[j] * weight[j] * rstd +
                            (((x[j] - mean) * rstd + rest) * of_xhat + plus);
            else
                for (int64_t j = 0; j < n; j++)
                    dx[j] = dy[j] * rstd + (((x[j] - mean) * rstd + rest) * of_xhat + plus);
            written(task->dx, at, n, task->half, dx);
        }
        for (int64_t j = 0; j < n; j++) {
            both_all[j] += of_both[j];
            sum_all[j] += sum[j];
        }
    }
    for (int which = 0; which < 2; which++) {
        void *gradient = which ? task->dbias : task->dweight;
        const double *total = which ? sum_all : both_all;
        if (!gradient) continue;
        float *all = room_for(gradient, i, task->low, out);
        for (int64_t j = 0; j < n; j++) all[j] = total[j];
        written(gradient, i, n, task->low, all);
    }
}

/* Both return 0, and 1 where there was no memory; `half`: x is in bfloat16, `low`: weight is. */
int64_t layer_norm_forward(const void *x, const void *weight, const void *bias, void *y,
                           double *stats, int64_t samples, int64_t channels, int64_t pixels,
                           double eps, int64_t half, int64_t low, int64_t threads) {
    Plan plan = plan_of(1, channels * pixels, 1);
    int64_t size = lines(plan.numbers * (low ? 2 : 4));
    Team team;
    if (!team_of(&team, samples, &plan, plan.pieces * sizeof(Moments),
                 moments_bytes(&plan) + 4 * BLOCK * sizeof(float), threads))
        return 1;
    char *moved = aligned_alloc(64, 2 * size);
    if (moved) {
        transpose(weight, moved, channels, pixels, low, team.threads);
        transpose(bias, moved + size, channels, pixels, low, team.threads);
        Task task = {.x = x, .y = y, .stats = stats, .eps = eps, .samples = samples,
                     .half = half, .low = low, .plan = plan};
        task.weight = weight ? moved : NULL;
        task.bias = bias ? moved + size : NULL;
        each_image(forward_image, &task, samples, &team);
    }
    free(moved);
    free(team.memory);
    return moved == NULL;
}

int64_t layer_norm_backward(const void *dy, const void *x, const void *weight, double *stats,
                            void *dx, void *dweight, void *dbias, int64_t samples,
                            int64_t channels, int64_t pixels, int64_t half, int64_t low,
                            int64_t threads) {
    Plan plan = plan_of(1, channels * pixels, 1);
    int64_t size = lines(plan.numbers * (low ? 2 : 4));
    Team team;
    if (!team_of(&team, samples, &plan, plan.pieces * 2 * sizeof(double),
                 6 * BLOCK * sizeof(float) + 2 * BLOCK * sizeof(double), threads))
        return 1;
    char *moved = aligned_alloc(64, 3 * size + lines(samples * 2 * sizeof(double)));
    if (moved) {
        transpose(weight, moved, channels, pixels, low, team.threads);
        Task task = {.x = x, .dy = dy, .dx = dx, .stats = stats, .samples = samples,
                     .half = half, .low = low, .plan = plan};
        task.means = (double *)(moved + 3 * size);
        task.weight = weight ? moved : NULL;
        task.dweight = dweight ? moved + size : NULL;
        task.dbias = dbias ? moved + 2 * size : NULL;
        if (dx) each_image(sums_image, &task, samples, &team);
#pragma omp parallel for num_threads(team.threads) schedule(static)
        for (int64_t i = 0; i < plan.numbers; i += BLOCK)
            backward_block(&task, i, team.memory + team.bytes * omp_get_thread_num());
        transpose(task.dweight, dweight, pixels, channels, low, team.threads);
        transpose(task.dbias, dbias, pixels, channels, low, team.threads);
    }
    free(moved);
    free(team.memory);
    return moved == NULL;
}
