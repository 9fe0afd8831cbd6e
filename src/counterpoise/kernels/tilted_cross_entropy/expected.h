/* The loss expected when the target is drawn from probabilities, in the type T:

    loss = sum of q_c * miss_c^gamma * (L_c + poly * miss_c)       L_c = -log(p_c), miss_c = 1 - p_c
    h_c  = miss_c^gamma * (1 + p_c * (gamma * L_c / miss_c + poly * (gamma + 1)))
    slope by logit c = p_c * sum of q_j * h_j - q_c * h_c

where q has the classes' weights in it. Of all classes only the largest, k, has a p above one half:
what rounding would take from its 1 - p and log(p) is kept by working from the others' sum, in W. */

typedef struct {
    const void *z;
    void *slopes; /* or NULL: the losses alone */
    const int64_t *target; /* class numbers, or NULL: */
    const T *q;            /* probabilities, as z */
    const T *weight, *sample_weight, *scale, *offset; /* each may be NULL */
    int64_t classes, pixels, ignore_index; /* a sample's classes lie `pixels` apart */
    double smoothing, gamma, poly;
} OF(Drawn);

/* q[c] *= (1 - e[c] * inverse)^gamma */
INLINE void OF(bent)(T *restrict q, const T *restrict e, T inverse, int64_t n, double gamma) {
    if (gamma == 1)
#pragma omp simd
        for (int64_t c = 0; c < n; c++) q[c] *= 1 - e[c] * inverse;
    else if (gamma == 2)
#pragma omp simd
        for (int64_t c = 0; c < n; c++) q[c] *= (1 - e[c] * inverse) * (1 - e[c] * inverse);
    else if (gamma)
#pragma omp simd
        for (int64_t c = 0; c < n; c++) q[c] *= POW_OF_T(1 - e[c] * inverse, (T)gamma);
}

/* One sample's loss, times its factor; and its slopes. In a scratch of 3 * classes. */
INLINE W OF(expect)(const OF(Drawn) *d, int64_t sample, W factor, T *a, int kind) {
    const int64_t classes = d->classes, step = d->pixels;
    const int64_t start = sample / step * step * classes + sample % step;
    T *e = a + classes, *q = e + classes, top = -INFINITY;
    const T gamma = d->gamma, poly = d->poly, each = d->smoothing / classes, share = 1 - d->smoothing;
    if (step == 1)
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) a[c] = load(d->z, start + c, kind);
    else
        for (int64_t c = 0; c < classes; c++) a[c] = load(d->z, start + c * step, kind);
    if (d->scale)
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) a[c] *= d->scale[c];
    if (d->offset)
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) a[c] += d->offset[c];
    for (int64_t c = 0; c < classes; c++) q[c] = d->q ? d->q[start + c * step] * share + each : each;
    if (!d->q) q[d->target[sample]] += share;
    if (d->weight)
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) q[c] *= d->weight[c];
#pragma omp simd reduction(max : top)
    for (int64_t c = 0; c < classes; c++) top = a[c] > top ? a[c] : top;
    int64_t k = 0;
    while (k + 1 < classes && a[k] != top) k++;
    W rest = 0, loss = 0, all = 0;
    for (int64_t from = 0; from < classes; from += 16 * CHUNK) {
        int64_t to = from + 16 * CHUNK < classes ? from + 16 * CHUNK : classes;
        SUM sum = 0;
#pragma omp simd
        for (int64_t c = from; c < to; c++) e[c] = EXP_BELOW(a[c], top);
        if (from <= k && k < to) e[k] = a[k] == top ? 0 : a[k] - top; /* NaN, if it is */
#pragma omp simd reduction(+ : sum)
        for (int64_t c = from; c < to; c++) sum += e[c];
        rest += sum;
    }
    const W total = 1 + rest, log_total = LOG1P(rest), miss = rest / total, q_k = q[k];
    const T log_of = log_total, inverse = 1 / total;
    q[k] = 0;
    OF(bent)(q, e, inverse, classes, d->gamma);
    for (int64_t from = 0; from < classes; from += 16 * CHUNK) {
        int64_t to = from + 16 * CHUNK < classes ? from + 16 * CHUNK : classes;
        SUM some = 0, sum = 0;
#pragma omp simd reduction(+ : some, sum)
        for (int64_t c = from; c < to; c++) {
            T p = e[c] * inverse, without = 1 - p, log_p = (top - a[c]) + log_of;
            some += q[c] * (log_p + poly * without);
            q[c] *= (1 + p * (gamma * log_p / without + poly * (gamma + 1)));
            e[c] = p;
            sum += q[c];
        }
        loss += some;
        all += sum;
    }
    const W power = gamma ? POW(miss, (W)d->gamma) : 1, ratio = miss > 0 ? log_total / miss : 1;
    const W h = q_k * power * (1 + (gamma * ratio + poly * (gamma + 1)) / total);
    loss += q_k * power * (log_total + poly * miss);
    if (!d->slopes) return loss * factor;
    const T sum_of_all = (all + h) * factor, by = factor;
#pragma omp simd
    for (int64_t c = 0; c < classes; c++) e[c] = e[c] * sum_of_all - q[c] * by;
    e[k] = (all / total - h * miss) * factor;
    if (d->scale)
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) e[c] *= d->scale[c];
    if (step == 1)
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) store(d->slopes, start + c, e[c], kind);
    else
        for (int64_t c = 0; c < classes; c++) store(d->slopes, start + c * step, e[c], kind);
    return loss * factor;
}

/* A sample's mass, and what it adds to what a mean divides by. */
INLINE W OF(drawn_mass)(const OF(Drawn) *d, int64_t i) {
    if (d->target && d->target[i] == d->ignore_index) return 0;
    return d->sample_weight ? d->sample_weight[i] : 1;
}

/* The samples within first .. end - 1; returns the sum of their losses, or sets *failed. */
static W OF(expect_each)(const OF(Drawn) *d, T *losses, W by, int64_t first, int64_t end, int kind,
                         int *failed) {
    T *scratch = malloc(3 * d->classes * sizeof *scratch);
    W sum = 0;
    if (!scratch) *failed = 1;
    for (int64_t i = first; i < end && scratch; i++) {
        W factor = OF(drawn_mass)(d, i) / by, loss = 0;
        if (factor == 0) { /* whatever it holds */
            const int64_t step = d->pixels, start = i / step * step * d->classes + i % step;
            for (int64_t c = 0; c < d->classes && d->slopes; c++)
                store(d->slopes, start + c * step, 0, kind);
        } else if (kind == BFLOAT16) {
            loss = OF(expect)(d, i, factor, scratch, BFLOAT16);
        } else {
            loss = OF(expect)(d, i, factor, scratch, KIND);
        }
        if (losses) losses[i] = loss;
        sum += loss;
    }
    free(scratch);
    return sum;
}

/* As tilted_cross_entropy in blocks.h, without a margin. */
int64_t OF(expected_cross_entropy)(
    const void *z, void *slopes, const int64_t *target, const T *q, const T *weight,
    const T *sample_weight, const T *scale, const T *offset, T *losses, int64_t n, int64_t classes,
    int64_t pixels, int64_t ignore_index, double smoothing, double gamma, double poly,
    int64_t reduction, double divisor, int64_t kind, int64_t threads) {
    const OF(Drawn) drawn = {z, slopes, target, q, weight, sample_weight, scale, offset, classes,
                             pixels, ignore_index, smoothing, gamma, poly}, *d = &drawn;
    W total = 0, counted = 0, loss = 0;
    n *= pixels; /* samples, from here on */
    for (int64_t i = 0; i < n; i++) {
        if (target && target[i] == ignore_index) continue;
        if (target && (target[i] < 0 || target[i] >= classes)) return 1;
        total += OF(drawn_mass)(d, i) * (target && weight ? weight[target[i]] : 1);
        counted += 1;
    }
    W by = divisor >= 0 ? divisor : reduction == MEAN ? total : reduction == BATCHMEAN ? counted : 1;
    if (by == 0) { /* torch's mean of nothing, whose gradient is 0 */
        loss = NAN;
        by = 1;
    }
    T *each = reduction == NONE ? losses : NULL;
    const int64_t block = 64, blocks = (n + block - 1) / block; /* the same for any threads */
    W *sums = malloc((blocks + 1) * sizeof *sums);
    if (!sums) return 2;
    int failed = 0;
#pragma omp parallel for num_threads(threads) reduction(| : failed) if (threads > 1 && n * classes >= 1 << 14)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t end = (b + 1) * block < n ? (b + 1) * block : n;
        int one = 0;
        sums[b] = OF(expect_each)(d, each, by, b * block, end, kind, &one);
        failed |= one;
    }
    if (reduction != NONE) {
        for (int64_t b = 0; b < blocks; b++) loss += sums[b];
        *losses = loss;
    }
    free(sums);
    return failed ? 2 : 0;
}
