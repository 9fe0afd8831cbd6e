/* Group normalization of (N, C, H, W) tensors whose memory is ordered N, H, W, C.

    y  = weight * (x - mean) * rstd + bias,  rstd = 1 / sqrt(var + eps)
    dx = rstd * (weight * dy - mean(weight * dy) - xhat * mean(weight * dy * xhat))
    dweight = sum(dy * xhat),  dbias = sum(dy),  xhat = (x - mean) * rstd

with the means over a group's channels and pixels. Means are kept in double, and taken away in two
steps: their float, which is exact where x is near it, and within what is added later the rest.
*/
#include "../_compiled/channels_last.h"

typedef struct {
    const void *x, *dy;
    const float *weight; /* NULL for ones */
    const float *bias;   /* NULL for zeros */
    void *y, *dx;
    double *stats; /* (N, groups, 2): mean, rstd */
    double *sums;  /* (N, channels, 2): of dy, and of dy * xhat */
    double eps;
    int half;
    Plan plan;
} Task;

typedef struct {
    const Task *task;
    int64_t begin; /* of the image in x */
    Moments *moments;
    double *partial;                /* (pieces, channels, 2) */
    float *mean, *of_x, *of_dy, *plus; /* of each lane */
} Image;

static Image image_of(const Task *task, int64_t sample, char *memory) {
    const Plan *plan = &task->plan;
    Image image = {.task = task, .begin = sample * plan->numbers};
    image.mean = part(&memory, plan->width, sizeof(float));
    image.of_x = part(&memory, plan->width, sizeof(float));
    image.of_dy = part(&memory, plan->width, sizeof(float));
    image.plus = part(&memory, plan->width, sizeof(float));
    image.moments = (Moments *)memory; /* one of the two, for the forward or the backward pass */
    image.partial = (double *)memory;
    return image;
}

static int64_t image_bytes(const Plan *plan, int64_t of_piece) {
    return 4 * lines(plan->width * sizeof(float)) + plan->pieces * of_piece * 2 * sizeof(double);
}

/* What the first lanes have, one for each channel, for the others too. */
static void repeat(float *lanes, const Plan *plan) {
    for (int64_t j = plan->channels; j < plan->width; j++) lanes[j] = lanes[j - plan->channels];
}

static void moments_piece(const void *of, int64_t p, char *memory) {
    const Image *image = of;
    const Plan *plan = &image->task->plan;
    moments_of(image->task->x, image->begin + p * plan->piece, piece_length(plan, p), plan,
               image->task->half, memory, image->moments + p * plan->groups);
}

/* y = of_x * (x - mean) + plus */
static void forward_rows(const float *restrict x, float *restrict y, int64_t n, int64_t width,
                         const float *restrict mean, const float *restrict of_x,
                         const float *restrict plus) {
    for (; n >= 2 * width; n -= 2 * width, x += 2 * width, y += 2 * width)
        for (int64_t j = 0; j < width; j++) {
            y[j] = (x[j] - mean[j]) * of_x[j] + plus[j];
            y[j + width] = (x[j + width] - mean[j]) * of_x[j] + plus[j];
        }
    for (; n > 0; n -= width, x += width, y += width)
        for (int64_t j = 0; j < least(n, width); j++) y[j] = (x[j] - mean[j]) * of_x[j] + plus[j];
}

static void forward_piece(const void *of, int64_t p, char *memory) {
    const Image *image = of;
    const Task *task = image->task;
    int64_t width = task->plan.width, chunk = task->plan.rows * width;
    int64_t begin = image->begin + p * task->plan.piece, end = begin + piece_length(&task->plan, p);
    float *buffer = part(&memory, chunk, sizeof(float)), *out = part(&memory, chunk, sizeof(float));
    for (int64_t at = begin; at < end; at += chunk) {
        int64_t n = least(chunk, end - at);
        float *y = room_for(task->y, at, task->half, out);
        forward_rows(floats(task->x, at, n, task->half, buffer), y, n, width, image->mean,
                     image->of_x, image->plus);
        written(task->y, at, n, task->half, y);
    }
}

static void forward_image(const void *of, int64_t sample, const Team *team, char *memory) {
    const Task *task = of;
    const Plan *plan = &task->plan;
    Image image = image_of(task, sample, memory);
    double *stats = task->stats + 2 * sample * plan->groups;
    each_piece(moments_piece, &image, plan->pieces, team, memory);
    statistics(plan, image.moments, task->eps, stats);
    int64_t size = plan->channels / plan->groups;
    for (int64_t g = 0, c = 0; g < plan->groups; g++)
        for (int64_t end = c + size; c < end; c++) {
            double of_x = stats[2 * g + 1] * (task->weight ? task->weight[c] : 1);
            image.mean[c] = stats[2 * g];
            image.of_x[c] = of_x;
            image.plus[c] = (task->bias ? task->bias[c] : 0) -
                            (stats[2 * g] - image.mean[c]) * of_x;
        }
    repeat(image.mean, plan);
    repeat(image.of_x, plan);
    repeat(image.plus, plan);
    each_piece(forward_piece, &image, plan->pieces, team, memory);
}

/* dy[j] += dy, dyx[j] += dy * (x - mean) */
static void sum_rows(const float *restrict dy, const float *restrict x, int64_t rows, int64_t width,
                     const float *restrict mean, float *restrict of_dy, float *restrict of_both) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4, x += 4 * width, dy += 4 * width)
        for (int64_t j = 0; j < width; j++) {
            float m = mean[j], a = dy[j], b = dy[j + width], c = dy[j + 2 * width];
            float d = dy[j + 3 * width];
            of_dy[j] += (a + b) + (c + d);
            of_both[j] += (a * (x[j] - m) + b * (x[j + width] - m)) +
                          (c * (x[j + 2 * width] - m) + d * (x[j + 3 * width] - m));
        }
    for (; r < rows; r++, x += width, dy += width)
        for (int64_t j = 0; j < width; j++) {
            of_dy[j] += dy[j];
            of_both[j] += dy[j] * (x[j] - mean[j]);
        }
}

/* The sums of dy and of dy * (x - mean) of a piece, for each channel. */
static void sums_piece(const void *of, int64_t p, char *memory) {
    const Image *image = of;
    const Task *task = image->task;
    const Plan *plan = &task->plan;
    int64_t width = plan->width, chunk = plan->rows * width;
    int64_t begin = image->begin + p * plan->piece, end = begin + piece_length(plan, p);
    float *of_x = part(&memory, chunk, sizeof(float)), *of_dy = part(&memory, chunk, sizeof(float));
    float *dy = part(&memory, width, sizeof(float)), *both = part(&memory, width, sizeof(float));
    double *sums = image->partial + 2 * p * plan->channels;
    memset(sums, 0, 2 * plan->channels * sizeof(double));
    for (int64_t at = begin; at < end;) {
        int64_t rows = least(plan->rows, (end - at) / width), used = rows ? width : end - at;
        if (!rows) rows = 1;
        memset(dy, 0, used * sizeof(float));
        memset(both, 0, used * sizeof(float));
        sum_rows(floats(task->dy, at, rows * used, task->half, of_dy),
                 floats(task->x, at, rows * used, task->half, of_x), rows, used, image->mean, dy,
                 both);
        for (int64_t j = 0; j < used;)
            for (int64_t c = 0; c < plan->channels; c++, j++) {
                sums[2 * c] += dy[j];
                sums[2 * c + 1] += both[j];
            }
        at += rows * used;
    }
}

/* dx = of_dy * dy + of_x * (x - mean) + plus */
static void backward_rows(const float *restrict dy, const float *restrict x, float *restrict dx,
                          int64_t n, int64_t width, const float *restrict mean,
                          const float *restrict of_dy, const float *restrict of_x,
                          const float *restrict plus) {
    for (; n > 0; n -= width, x += width, dy += width, dx += width)
        for (int64_t j = 0; j < least(n, width); j++)
            dx[j] = of_dy[j] * dy[j] + (of_x[j] * (x[j] - mean[j]) + plus[j]);
}

static void backward_piece(const void *of, int64_t p, char *memory) {
    const Image *image = of;
    const Task *task = image->task;
    int64_t width = task->plan.width, chunk = task->plan.rows * width;
    int64_t begin = image->begin + p * task->plan.piece, end = begin + piece_length(&task->plan, p);
    float *of_x = part(&memory, chunk, sizeof(float)), *of_dy = part(&memory, chunk, sizeof(float));
    float *out = part(&memory, chunk, sizeof(float));
    for (int64_t at = begin; at < end; at += chunk) {
        int64_t n = least(chunk, end - at);
        float *dx = room_for(task->dx, at, task->half, out);
        backward_rows(floats(task->dy, at, n, task->half, of_dy),
                      floats(task->x, at, n, task->half, of_x), dx, n, width, image->mean,
                      image->of_dy, image->of_x, image->plus);
        written(task->dx, at, n, task->half, dx);
    }
}

static void backward_image(const void *of, int64_t sample, const Team *team, char *memory) {
    const Task *task = of;
    const Plan *plan = &task->plan;
    Image image = image_of(task, sample, memory);
    const double *stats = task->stats + 2 * sample * plan->groups;
    double *sums = task->sums + 2 * sample * plan->channels;
    int64_t channels = plan->channels, size = channels / plan->groups;
    for (int64_t c = 0; c < channels; c++) image.mean[c] = stats[c / size * 2];
    repeat(image.mean, plan);
    each_piece(sums_piece, &image, plan->pieces, team, memory);
    memset(sums, 0, 2 * channels * sizeof(double));
    for (int64_t p = 0; p < plan->pieces; p++)
        for (int64_t c = 0; c < 2 * channels; c++) sums[c] += image.partial[2 * p * channels + c];
    double one = 1 / (plan->numbers / (double)plan->groups);
    for (int64_t g = 0; g < plan->groups; g++) {
        double rstd = stats[2 * g + 1], rest = stats[2 * g] - (float)stats[2 * g];
        double of_dy = 0, of_both = 0; /* means of weight * dy, and of weight * dy * xhat */
        for (int64_t c = g * size; c < (g + 1) * size; c++) {
            double weight = task->weight ? task->weight[c] : 1;
            sums[2 * c + 1] = (sums[2 * c + 1] - rest * sums[2 * c]) * rstd;
            of_dy += weight * sums[2 * c] * one;
            of_both += weight * sums[2 * c + 1] * one;
            image.of_dy[c] = weight * rstd;
        }
        for (int64_t c = g * size; c < (g + 1) * size; c++) {
            image.of_x[c] = -rstd * rstd * of_both;
            image.plus[c] = rstd * (rstd * of_both * rest - of_dy);
        }
    }
    if (!task->dx) return;
    repeat(image.of_dy, plan);
    repeat(image.of_x, plan);
    repeat(image.plus, plan);
    each_piece(backward_piece, &image, plan->pieces, team, memory);
}

/* What a parameter's gradient is: the sum over the samples, in their order. */
static void parameter(void *gradient, const double *sums, int64_t samples, int64_t channels,
                      int half, float *buffer) {
    if (!gradient) return;
    float *total = room_for(gradient, 0, half, buffer);
    for (int64_t c = 0; c < channels; c++) {
        double sum = 0;
        for (int64_t n = 0; n < samples; n++) sum += sums[2 * (n * channels + c)];
        total[c] = sum;
    }
    written(gradient, 0, channels, half, total);
}

/* Both return 0, and 1 where there was no memory; `half`: x is in bfloat16, `low`: weight is. */
int64_t group_norm_forward(const void *x, const void *weight, const void *bias, void *y,
                           double *stats, int64_t samples, int64_t channels, int64_t pixels,
                           int64_t groups, double eps, int64_t half, int64_t low,
                           int64_t threads) {
    Plan plan = plan_of(channels, channels * pixels, groups);
    int64_t lane = lines(channels * sizeof(float));
    Team team;
    if (!team_of(&team, samples, &plan, image_bytes(&plan, groups),
                 moments_bytes(&plan) + plan.rows * plan.width * sizeof(float), threads))
        return 1;
    char *own = aligned_alloc(64, 2 * lane);
    if (own) {
        Task task = {.x = x, .y = y, .stats = stats, .eps = eps, .half = half, .plan = plan};
        if (weight) task.weight = floats(weight, 0, channels, low, (float *)own);
        if (bias) task.bias = floats(bias, 0, channels, low, (float *)(own + lane));
        each_image(forward_image, &task, samples, &team);
    }
    free(own);
    free(team.memory);
    return own == NULL;
}

int64_t group_norm_backward(const void *dy, const void *x, const void *weight, double *stats,
                            void *dx, void *dweight, void *dbias, int64_t samples,
                            int64_t channels, int64_t pixels, int64_t groups, int64_t half,
                            int64_t low, int64_t threads) {
    Plan plan = plan_of(channels, channels * pixels, groups);
    int64_t lane = lines(channels * sizeof(float));
    Team team;
    if (!team_of(&team, samples, &plan, image_bytes(&plan, channels),
                 (3 * plan.rows + 2) * plan.width * sizeof(float) + 4 * 64, threads))
        return 1;
    char *own = aligned_alloc(64, lane + lines(samples * channels * 2 * sizeof(double)));
    if (own) {
        double *sums = (double *)(own + lane);
        Task task = {.x = x, .dy = dy, .dx = dx, .stats = stats, .half = half, .plan = plan};
        task.sums = sums;
        if (weight) task.weight = floats(weight, 0, channels, low, (float *)own);
        each_image(backward_image, &task, samples, &team);
        parameter(dbias, sums, samples, channels, low, (float *)own); /* the weight was read */
        parameter(dweight, sums + 1, samples, channels, low, (float *)own);
    }
    free(own);
    free(team.memory);
    return own == NULL;
}
