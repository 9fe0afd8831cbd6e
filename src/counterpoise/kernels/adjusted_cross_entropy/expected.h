/* The loss expected when the target is drawn from probabilities, in the type T:

    loss = sum of q_c * miss_c^gamma * (L_c + poly * miss_c)       L_c = -log(p_c), miss_c = 1 - p_c
    h_c  = miss_c^gamma * (1 + p_c * (gamma * L_c / miss_c + poly * (gamma + 1)))
    slope by logit c = p_c * sum of q_j * h_j - q_c * h_c

where q has the classes' weights in it. Of all classes only the largest, k, has a p above one half:
what rounding would take from its 1 - p and log(p) is kept by working from the others' sum, in W.

As in `blocks.h`, samples are side by side where classes are few, else classes. */

typedef struct {
    const void *z;
    void *slopes; /* or NULL: the losses alone */
    const int64_t *target; /* class numbers, or NULL: */
    const T *q;            /* probabilities, as z */
    const T *weight, *sample_weight, *scale, *offset; /* each may be NULL */
    int64_t classes, pixels, ignore_index; /* a sample's classes lie `pixels` apart */
    double smoothing, gamma, poly;
} OF(Drawn);

/* The modulating factor: q[c] *= (1 - e[c] * inverse)^gamma. */
INLINE void OF(modulate)(T *restrict q, const T *restrict e, T inverse, int64_t n, double gamma) {
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
    const int64_t classes = d->classes, start = sample * classes;
    T *e = a + classes, *q = e + classes, top = -INFINITY;
    const T gamma = d->gamma, poly = d->poly, each = d->smoothing / classes, share = 1 - d->smoothing;
#pragma omp simd
    for (int64_t c = 0; c < classes; c++) a[c] = load(d->z, start + c, kind);
    if (d->scale)
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) a[c] *= d->scale[c];
    if (d->offset)
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) a[c] += d->offset[c];
    for (int64_t c = 0; c < classes; c++) q[c] = d->q ? d->q[start + c] * share + each : each;
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
    OF(modulate)(q, e, inverse, classes, d->gamma);
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
#pragma omp simd
    for (int64_t c = 0; c < classes; c++) store(d->slopes, start + c, e[c], kind);
    return loss * factor;
}

/* The same of n neighbours with few classes, side by side: a class's numbers are a[c * BLOCK + i].
   In a scratch of 3 * classes * BLOCK; factors become losses. */
INLINE void OF(expect_beside)(const OF(Drawn) *d, int64_t first, int64_t n, W *factor, T *a, int kind) {
    const int64_t classes = d->classes, step = d->pixels, size = classes * BLOCK;
    const int64_t along = step == 1 ? 1 : step, across = step == 1 ? classes : 1; /* classes, samples */
    const int64_t start = first / step * step * classes + first % step;
    const T gamma = d->gamma, poly = d->poly, each = d->smoothing / classes, share = 1 - d->smoothing;
    T *e = a + size, *q = e + size, top[BLOCK], inverse[BLOCK], log_of[BLOCK], some[BLOCK] = {0};
    T all[BLOCK] = {0}, by[BLOCK], sum_of_all[BLOCK];
    W rest[BLOCK], miss[BLOCK], log_total[BLOCK], power[BLOCK], q_k[BLOCK], of_k[BLOCK];
    int32_t k[BLOCK];
    for (int64_t c = 0; c < classes; c++) {
        const T scale = d->scale ? d->scale[c] : 1, offset = d->offset ? d->offset[c] : 0;
        const int64_t at = start + c * along;
        for (int64_t i = 0; i < n; i++) a[c * BLOCK + i] = load(d->z, at + i * across, kind);
        for (int64_t i = 0; i < n && d->q; i++) q[c * BLOCK + i] = d->q[at + i * across];
#pragma omp simd
        for (int64_t i = 0; i < n; i++) a[c * BLOCK + i] = a[c * BLOCK + i] * scale + offset;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            q[c * BLOCK + i] = d->q ? q[c * BLOCK + i] * share + each : each;
    }
    for (int64_t i = 0; i < n && d->target; i++)
        if (factor[i]) q[d->target[first + i] * BLOCK + i] += share;
    for (int64_t i = 0; i < n; i++) {
        if (!factor[i]) /* whatever it holds */
            for (int64_t c = 0; c < classes; c++) a[c * BLOCK + i] = q[c * BLOCK + i] = 0;
        top[i] = -INFINITY;
        k[i] = 0;
    }
    for (int64_t c = 0; c < classes; c++) {
        const T weight = d->weight ? d->weight[c] : 1;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            q[c * BLOCK + i] *= weight;
            k[i] = a[c * BLOCK + i] > top[i] ? c : k[i];
            top[i] = a[c * BLOCK + i] > top[i] ? a[c * BLOCK + i] : top[i];
        }
    }
    for (int64_t c = 0; c < classes; c++)
#pragma omp simd
        for (int64_t i = 0; i < n; i++) e[c * BLOCK + i] = EXP_BELOW(a[c * BLOCK + i], top[i]);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = k[i] * BLOCK + i;
        e[at] = a[at] == top[i] ? 0 : a[at] - top[i]; /* NaN, if it is */
        q_k[i] = q[at];
        q[at] = 0;
        rest[i] = 0;
    }
    for (int64_t from = 0; from < classes; from += CHUNK) {
        int64_t to = from + CHUNK < classes ? from + CHUNK : classes;
        SUM sum[BLOCK] = {0};
        for (int64_t c = from; c < to; c++)
#pragma omp simd
            for (int64_t i = 0; i < n; i++) sum[i] += e[c * BLOCK + i];
        for (int64_t i = 0; i < n; i++) rest[i] += sum[i];
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) { /* log1p, by Kahan's trick: glibc has vectors of log only */
        W total = 1 + rest[i], off = total - 1;
        log_total[i] = off == 0 ? rest[i] : LOG(total) * (rest[i] / off);
        power[i] = miss[i] = rest[i] / total;
        inverse[i] = 1 / total;
        log_of[i] = log_total[i];
    }
    if (d->gamma == 0) {
        for (int64_t i = 0; i < n; i++) power[i] = 1;
    } else if (d->gamma == 2) {
        for (int64_t i = 0; i < n; i++) power[i] *= power[i];
    } else if (d->gamma != 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) power[i] = POW(power[i], (W)d->gamma);
    }
    for (int64_t c = 0; c < classes; c++) {
        T *restrict p = e + c * BLOCK, *restrict h = q + c * BLOCK;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) p[i] *= inverse[i];
        if (d->gamma == 1)
#pragma omp simd
            for (int64_t i = 0; i < n; i++) h[i] *= 1 - p[i];
        else if (d->gamma == 2)
#pragma omp simd
            for (int64_t i = 0; i < n; i++) h[i] *= (1 - p[i]) * (1 - p[i]);
        else if (d->gamma)
#pragma omp simd
            for (int64_t i = 0; i < n; i++) h[i] *= POW_OF_T(1 - p[i], gamma);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            T without = 1 - p[i], log_p = (top[i] - a[c * BLOCK + i]) + log_of[i];
            some[i] += h[i] * (log_p + poly * without);
            h[i] *= 1 + p[i] * (gamma * log_p / without + poly * (gamma + 1));
            all[i] += h[i];
        }
    }
    for (int64_t i = 0; i < n; i++) {
        const W by_total = 1 / (1 + rest[i]), ratio = miss[i] > 0 ? log_total[i] / miss[i] : 1;
        const W own = q_k[i] * power[i];
        const W h = own * (1 + (d->gamma * ratio + d->poly * (d->gamma + 1)) * by_total);
        sum_of_all[i] = (all[i] + h) * factor[i];
        of_k[i] = (all[i] * by_total - h * miss[i]) * factor[i];
        by[i] = factor[i];
        factor[i] *= some[i] + own * (log_total[i] + d->poly * miss[i]);
    }
    if (!d->slopes) return;
    for (int64_t c = 0; c < classes; c++)
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            e[c * BLOCK + i] = e[c * BLOCK + i] * sum_of_all[i] - q[c * BLOCK + i] * by[i];
    for (int64_t i = 0; i < n; i++) e[k[i] * BLOCK + i] = of_k[i];
    for (int64_t c = 0; c < classes; c++) {
        const T scale = d->scale ? d->scale[c] : 1;
        const int64_t at = start + c * along;
        for (int64_t i = 0; i < n; i++)
            store(d->slopes, at + i * across, e[c * BLOCK + i] * scale, kind);
    }
}

/* A sample's mass, and what it adds to what a mean divides by. */
INLINE W OF(drawn_mass)(const OF(Drawn) *d, int64_t i) {
    if (d->target && d->target[i] == d->ignore_index) return 0;
    return d->sample_weight ? d->sample_weight[i] : 1;
}

/* The neighbours first .. end - 1, at most BLOCK; returns the sum of their losses, or sets *failed. */
static W OF(expect_each)(const OF(Drawn) *d, T *losses, W by, int64_t first, int64_t end, int kind,
                         int *failed) {
    const int64_t n = end - first, classes = d->classes, step = d->pixels;
    const int beside = step > 1 || classes <= SIDE_BY_SIDE;
    T *scratch = malloc(3 * classes * (beside ? BLOCK : 1) * sizeof *scratch);
    W loss[BLOCK], sum = 0;
    *failed = !scratch;
    if (!scratch) return 0;
    for (int64_t i = 0; i < n; i++) loss[i] = OF(drawn_mass)(d, first + i) / by;
    if (beside && kind == BFLOAT16) {
        OF(expect_beside)(d, first, n, loss, scratch, BFLOAT16);
    } else if (beside) {
        OF(expect_beside)(d, first, n, loss, scratch, KIND);
    } else {
        for (int64_t i = 0; i < n; i++) {
            if (!loss[i]) { /* whatever it holds */
                for (int64_t c = 0; c < classes && d->slopes; c++)
                    store(d->slopes, (first + i) * classes + c, 0, kind);
            } else if (kind == BFLOAT16) {
                loss[i] = OF(expect)(d, first + i, loss[i], scratch, BFLOAT16);
            } else {
                loss[i] = OF(expect)(d, first + i, loss[i], scratch, KIND);
            }
        }
    }
    for (int64_t i = 0; i < n; i++) {
        if (losses) losses[first + i] = loss[i];
        sum += loss[i];
    }
    free(scratch);
    return sum;
}

/* As adjusted_cross_entropy in blocks.h, without a margin. */
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
    const int64_t line = pixels > 1 ? pixels : n, cuts = (line + BLOCK - 1) / BLOCK;
    const int64_t blocks = line ? n / line * cuts : 0; /* the same for any threads */
    W *sums = malloc((blocks + 1) * sizeof *sums);
    if (!sums) return 2;
    int failed = 0;
#pragma omp parallel for num_threads(threads) reduction(| : failed) if (threads > 1 && n * classes >= 1 << 14)
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t begin = b / cuts * line, first = begin + b % cuts * BLOCK;
        const int64_t end = first + BLOCK < begin + line ? first + BLOCK : begin + line;
        int one = 0;
        sums[b] = OF(expect_each)(d, each, by, first, end, kind, &one);
        failed |= one;
    }
    if (reduction != NONE) {
        for (int64_t b = 0; b < blocks; b++) loss += sums[b];
        *losses = loss;
    }
    free(sums);
    return failed ? 2 : 0;
}
