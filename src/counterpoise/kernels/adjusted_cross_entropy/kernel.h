/* The work of `cpu.c` in the type T; what belongs to a sample, and sums over classes, in the wider W. */

enum { OF(CHUNK) = 32 }; /* numbers that are added in SUM_T before their sum is added in W */

typedef struct {
    const void *logits;
    void *grad;            /* or NULL: the losses alone */
    const int64_t *target; /* class numbers, or NULL: */
    const T *soft_target;  /* class probabilities, which lie as the logits do */
    const T *weight, *sample_weight, *scale, *offset, *margin, *gammas; /* each may be NULL */
    int64_t num_classes, inner_size, ignore_index; /* a sample's classes lie inner_size apart */
    double gamma, poly, smoothing;
} OF(Problem);

typedef struct { /* of a block of samples with class numbers as targets */
    int64_t target[BLOCK];
    T row_max[BLOCK], ratio[BLOCK];
    W weight[BLOCK], a_t[BLOCK], sum_exp[BLOCK], loss[BLOCK], grad[BLOCK];
} OF(Samples);

INLINE int64_t OF(smaller)(int64_t a, int64_t b) { return a < b ? a : b; }

/* Where a sample's logit of class 0 lies, and how far apart neighbouring samples lie. */
INLINE int64_t OF(start)(const OF(Problem) *p, int64_t sample) {
    return sample / p->inner_size * p->inner_size * p->num_classes + sample % p->inner_size;
}

INLINE int64_t OF(sample_stride)(const OF(Problem) *p) {
    return p->inner_size > 1 ? 1 : p->num_classes;
}

/* From a_t, row_max and sum_exp the losses, their gradients by d, and what the exponentials are multiplied
with to become gradients. */
static void OF(losses_and_gradients)(OF(Samples) *s, int64_t n, const OF(Problem) *p) {
    const double poly = p->poly;
    W margin[BLOCK], power[BLOCK], gamma[BLOCK];
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        W a_t = s->a_t[i], d = (s->row_max[i] - a_t) + LOG(s->sum_exp[i]);
        d = a_t == INFINITY || (a_t == -INFINITY && s->sum_exp[i] == 0) ? NAN : d; /* as in softmax */
        s->loss[i] = d == INFINITY ? INFINITY : 0;
        margin[i] = d > DBL_MAX ? DBL_MAX : d;
    }
    if (p->margin)
        for (int64_t i = 0; i < n; i++) margin[i] += p->margin[s->target[i]];
    for (int64_t i = 0; i < n; i++) gamma[i] = p->gammas ? p->gammas[s->target[i]] : p->gamma;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        W d = margin[i], x = EXP(-FABS(d)), both = 1 + x, off = both - 1;
        W softplus = (d > 0 ? d : 0) + (off == 0 ? x : LOG(both) * (x / off));
        W not_p_t = (d > 0 ? 1 : x) / both, p_t = (d > 0 ? x : 1) / both;
        s->grad[i] = not_p_t + p_t * (gamma[i] * softplus + poly * (gamma[i] + 1) * not_p_t);
        s->loss[i] += softplus + poly * not_p_t;
        power[i] = not_p_t;
    }
    if (p->gammas || (p->gamma != 0 && p->gamma != 1 && p->gamma != 2)) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) power[i] = POW(power[i], gamma[i]);
    } else if (p->gamma == 0) {
        for (int64_t i = 0; i < n; i++) power[i] = 1;
    } else if (p->gamma == 2) {
        for (int64_t i = 0; i < n; i++) power[i] *= power[i];
    }
    for (int64_t i = 0; i < n; i++) {
        W factor = s->weight[i] * power[i];
        s->loss[i] = s->weight[i] ? s->loss[i] * factor : 0;
        s->grad[i] = s->weight[i] ? s->grad[i] * factor : 0;
        s->ratio[i] = s->weight[i] ? s->grad[i] / (s->sum_exp[i] > TINY ? s->sum_exp[i] : TINY) : 0;
    }
}

/* n samples from `first` on, lane-major: a class's numbers are e[c * BLOCK + i]. */
INLINE void OF(class_numbers_lane_major)(
    const OF(Problem) *p, int64_t first, int64_t n, OF(Samples) *s, T *e, int kind) {
    const int64_t classes = p->num_classes, inner = p->inner_size, start = OF(start)(p, first);
    if (inner > 1) {
        for (int64_t c = 0; c < classes; c++)
#pragma omp simd
            for (int64_t i = 0; i < n; i++) e[c * BLOCK + i] = load(p->logits, start + c * inner + i, kind);
    } else {
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < classes; c++)
                e[c * BLOCK + i] = load(p->logits, start + i * classes + c, kind);
    }
    for (int64_t c = 0; c < classes && (p->scale || p->offset); c++) {
        T scale = p->scale ? p->scale[c] : 1, offset = p->offset ? p->offset[c] : 0;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) e[c * BLOCK + i] = e[c * BLOCK + i] * scale + offset;
    }
    for (int64_t i = 0; i < n; i++) {
        if (!s->weight[i]) /* whatever it holds */
            for (int64_t c = 0; c < classes; c++) e[c * BLOCK + i] = 0;
        s->a_t[i] = e[s->target[i] * BLOCK + i];
        e[s->target[i] * BLOCK + i] = -INFINITY;
        s->row_max[i] = -LARGEST; /* there may be no other class */
        s->sum_exp[i] = 0;
    }
    for (int64_t c = 0; c < classes; c++)
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            s->row_max[i] = e[c * BLOCK + i] > s->row_max[i] ? e[c * BLOCK + i] : s->row_max[i];
    for (int64_t from = 0; from < classes; from += OF(CHUNK)) {
        int64_t to = OF(smaller)(from + OF(CHUNK), classes);
        SUM_T sum[BLOCK] = {0};
        for (int64_t c = from; c < to; c++) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                e[c * BLOCK + i] = EXP_BELOW(e[c * BLOCK + i], s->row_max[i]);
#pragma omp simd
            for (int64_t i = 0; i < n; i++) sum[i] += e[c * BLOCK + i];
        }
        for (int64_t i = 0; i < n; i++) s->sum_exp[i] += sum[i];
    }
    OF(losses_and_gradients)(s, n, p);
    if (!p->grad) return;
    for (int64_t c = 0; c < classes; c++) {
        T scale = p->scale ? p->scale[c] : 1;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            e[c * BLOCK + i] = (s->target[i] == c ? -s->grad[i] : e[c * BLOCK + i] * s->ratio[i]) * scale;
    }
    if (inner > 1) {
        for (int64_t c = 0; c < classes; c++)
#pragma omp simd
            for (int64_t i = 0; i < n; i++) store(p->grad, start + c * inner + i, e[c * BLOCK + i], kind);
    } else {
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < classes; c++)
                store(p->grad, start + i * classes + c, e[c * BLOCK + i], kind);
    }
}

/* n samples from `first` on, of many classes: a sample's numbers are e[i * num_classes + c]. */
INLINE void OF(class_numbers_row_major)(
    const OF(Problem) *p, int64_t first, int64_t n, OF(Samples) *s, T *e, int kind) {
    const int64_t classes = p->num_classes;
    for (int64_t i = 0; i < n; i++) {
        T *row = e + i * classes, row_max = -LARGEST;
        const int64_t start = (first + i) * classes, t = s->target[i];
        W sum_exp = 0;
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) row[c] = load(p->logits, start + c, kind);
        if (p->scale)
#pragma omp simd
            for (int64_t c = 0; c < classes; c++) row[c] *= p->scale[c];
        if (p->offset)
#pragma omp simd
            for (int64_t c = 0; c < classes; c++) row[c] += p->offset[c];
        if (!s->weight[i]) memset(row, 0, classes * sizeof *row); /* whatever it holds */
        s->a_t[i] = row[t];
        row[t] = -INFINITY;
#pragma omp simd reduction(max : row_max)
        for (int64_t c = 0; c < classes; c++) row_max = row[c] > row_max ? row[c] : row_max;
        for (int64_t from = 0; from < classes; from += 16 * OF(CHUNK)) {
            int64_t to = OF(smaller)(from + 16 * OF(CHUNK), classes);
            SUM_T sum = 0;
#pragma omp simd
            for (int64_t c = from; c < to; c++) row[c] = EXP_BELOW(row[c], row_max);
#pragma omp simd reduction(+ : sum)
            for (int64_t c = from; c < to; c++) sum += row[c];
            sum_exp += sum;
        }
        s->row_max[i] = row_max;
        s->sum_exp[i] = sum_exp;
    }
    OF(losses_and_gradients)(s, n, p);
    if (!p->grad) return;
    for (int64_t i = 0; i < n; i++) {
        T *row = e + i * classes, ratio = s->ratio[i];
        const int64_t start = (first + i) * classes, t = s->target[i];
        if (p->scale)
#pragma omp simd
            for (int64_t c = 0; c < classes; c++) row[c] *= p->scale[c];
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) store(p->grad, start + c, row[c] * ratio, kind);
        store(p->grad, start + t, -s->grad[i] * (p->scale ? p->scale[t] : 1), kind);
    }
}

/* The modulating factor of n numbers: h *= (1 - p)^gamma. */
INLINE void OF(modulate)(T *restrict h, const T *restrict p, int64_t n, double gamma) {
    if (gamma == 1)
#pragma omp simd
        for (int64_t c = 0; c < n; c++) h[c] *= 1 - p[c];
    else if (gamma == 2)
#pragma omp simd
        for (int64_t c = 0; c < n; c++) h[c] *= (1 - p[c]) * (1 - p[c]);
    else if (gamma)
#pragma omp simd
        for (int64_t c = 0; c < n; c++) h[c] *= POW_OF_T(1 - p[c], (T)gamma);
}

/* One sample with a soft target: its loss times its weight, and its gradient. Scratch: 3 * num_classes. */
INLINE W OF(soft_target_row_major)(const OF(Problem) *d, int64_t sample, W weight, T *a, int kind) {
    const int64_t classes = d->num_classes, start = sample * classes;
    T *e = a + classes, *q = e + classes, row_max = -INFINITY;
    const T gamma = d->gamma, poly = d->poly, each = d->smoothing / classes, share = 1 - d->smoothing;
#pragma omp simd
    for (int64_t c = 0; c < classes; c++) a[c] = load(d->logits, start + c, kind);
    if (d->scale)
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) a[c] *= d->scale[c];
    if (d->offset)
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) a[c] += d->offset[c];
    for (int64_t c = 0; c < classes; c++)
        q[c] = d->soft_target ? d->soft_target[start + c] * share + each : each;
    if (!d->soft_target) q[d->target[sample]] += share;
    if (d->weight)
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) q[c] *= d->weight[c];
#pragma omp simd reduction(max : row_max)
    for (int64_t c = 0; c < classes; c++) row_max = a[c] > row_max ? a[c] : row_max;
    int64_t k = 0;
    while (k + 1 < classes && a[k] != row_max) k++;
    W others = 0, loss = 0, all = 0;
    for (int64_t from = 0; from < classes; from += 16 * OF(CHUNK)) {
        int64_t to = OF(smaller)(from + 16 * OF(CHUNK), classes);
        SUM_T sum = 0;
#pragma omp simd
        for (int64_t c = from; c < to; c++) e[c] = EXP_BELOW(a[c], row_max);
        if (from <= k && k < to) e[k] = a[k] == row_max ? 0 : a[k] - row_max; /* NaN, if it is */
#pragma omp simd reduction(+ : sum)
        for (int64_t c = from; c < to; c++) sum += e[c];
        others += sum;
    }
    const W sum_exp = 1 + others, log_sum = LOG1P(others), not_p_k = others / sum_exp, q_k = q[k];
    const T log_of_sum = log_sum, inverse = 1 / sum_exp;
    q[k] = 0;
#pragma omp simd
    for (int64_t c = 0; c < classes; c++) e[c] *= inverse;
    OF(modulate)(q, e, classes, d->gamma);
    for (int64_t from = 0; from < classes; from += 16 * OF(CHUNK)) {
        int64_t to = OF(smaller)(from + 16 * OF(CHUNK), classes);
        SUM_T some = 0, sum = 0;
#pragma omp simd reduction(+ : some, sum)
        for (int64_t c = from; c < to; c++) {
            T p = e[c], not_p = 1 - p, minus_log_p = (row_max - a[c]) + log_of_sum;
            some += q[c] * (minus_log_p + poly * not_p);
            q[c] *= (1 + p * (gamma * minus_log_p / not_p + poly * (gamma + 1)));
            sum += q[c];
        }
        loss += some;
        all += sum;
    }
    const W power = gamma ? POW(not_p_k, (W)d->gamma) : 1, ratio = not_p_k > 0 ? log_sum / not_p_k : 1;
    const W h = q_k * power * (1 + (gamma * ratio + poly * (gamma + 1)) / sum_exp);
    loss += q_k * power * (log_sum + poly * not_p_k);
    if (!d->grad) return loss * weight;
    const T sum_of_h = (all + h) * weight, by = weight;
#pragma omp simd
    for (int64_t c = 0; c < classes; c++) e[c] = e[c] * sum_of_h - q[c] * by;
    e[k] = (all / sum_exp - h * not_p_k) * weight;
    if (d->scale)
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) e[c] *= d->scale[c];
#pragma omp simd
    for (int64_t c = 0; c < classes; c++) store(d->grad, start + c, e[c], kind);
    return loss * weight;
}

/* n samples with soft targets, lane-major. Scratch: 3 * num_classes * BLOCK. Weights become losses. */
INLINE void OF(soft_targets_lane_major)(
    const OF(Problem) *d, int64_t first, int64_t n, W *weight, T *a, int kind) {
    const int64_t classes = d->num_classes, size = classes * BLOCK, start = OF(start)(d, first);
    const int64_t along = d->inner_size, across = OF(sample_stride)(d); /* classes, samples */
    const T gamma = d->gamma, poly = d->poly, each = d->smoothing / classes, share = 1 - d->smoothing;
    T *e = a + size, *q = e + size, row_max[BLOCK], inverse[BLOCK], log_of_sum[BLOCK], some[BLOCK] = {0};
    T all[BLOCK] = {0}, by[BLOCK], sum_of_h[BLOCK];
    W others[BLOCK], not_p_k[BLOCK], log_sum[BLOCK], power[BLOCK], q_k[BLOCK], grad_k[BLOCK];
    int32_t k[BLOCK];
    for (int64_t c = 0; c < classes; c++) {
        const T scale = d->scale ? d->scale[c] : 1, offset = d->offset ? d->offset[c] : 0;
        const int64_t at = start + c * along;
        for (int64_t i = 0; i < n; i++) a[c * BLOCK + i] = load(d->logits, at + i * across, kind);
        for (int64_t i = 0; i < n && d->soft_target; i++)
            q[c * BLOCK + i] = d->soft_target[at + i * across];
#pragma omp simd
        for (int64_t i = 0; i < n; i++) a[c * BLOCK + i] = a[c * BLOCK + i] * scale + offset;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            q[c * BLOCK + i] = d->soft_target ? q[c * BLOCK + i] * share + each : each;
    }
    for (int64_t i = 0; i < n && d->target; i++)
        if (weight[i]) q[d->target[first + i] * BLOCK + i] += share;
    for (int64_t i = 0; i < n; i++) {
        if (!weight[i]) /* whatever it holds */
            for (int64_t c = 0; c < classes; c++) a[c * BLOCK + i] = q[c * BLOCK + i] = 0;
        row_max[i] = -INFINITY;
        k[i] = 0;
    }
    for (int64_t c = 0; c < classes; c++) {
        const T class_weight = d->weight ? d->weight[c] : 1;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            q[c * BLOCK + i] *= class_weight;
            k[i] = a[c * BLOCK + i] > row_max[i] ? c : k[i];
            row_max[i] = a[c * BLOCK + i] > row_max[i] ? a[c * BLOCK + i] : row_max[i];
        }
    }
    for (int64_t c = 0; c < classes; c++)
#pragma omp simd
        for (int64_t i = 0; i < n; i++) e[c * BLOCK + i] = EXP_BELOW(a[c * BLOCK + i], row_max[i]);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = k[i] * BLOCK + i;
        e[at] = a[at] == row_max[i] ? 0 : a[at] - row_max[i]; /* NaN, if it is */
        q_k[i] = q[at];
        q[at] = 0;
        others[i] = 0;
    }
    for (int64_t from = 0; from < classes; from += OF(CHUNK)) {
        int64_t to = OF(smaller)(from + OF(CHUNK), classes);
        SUM_T sum[BLOCK] = {0};
        for (int64_t c = from; c < to; c++)
#pragma omp simd
            for (int64_t i = 0; i < n; i++) sum[i] += e[c * BLOCK + i];
        for (int64_t i = 0; i < n; i++) others[i] += sum[i];
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) { /* log1p, by Kahan's trick: glibc has vectors of log only */
        W sum_exp = 1 + others[i], off = sum_exp - 1;
        log_sum[i] = off == 0 ? others[i] : LOG(sum_exp) * (others[i] / off);
        power[i] = not_p_k[i] = others[i] / sum_exp;
        inverse[i] = 1 / sum_exp;
        log_of_sum[i] = log_sum[i];
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
        OF(modulate)(h, p, n, d->gamma);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            T not_p = 1 - p[i], minus_log_p = (row_max[i] - a[c * BLOCK + i]) + log_of_sum[i];
            some[i] += h[i] * (minus_log_p + poly * not_p);
            h[i] *= 1 + p[i] * (gamma * minus_log_p / not_p + poly * (gamma + 1));
            all[i] += h[i];
        }
    }
    for (int64_t i = 0; i < n; i++) {
        const W by_sum = 1 / (1 + others[i]), ratio = not_p_k[i] > 0 ? log_sum[i] / not_p_k[i] : 1;
        const W own = q_k[i] * power[i];
        const W h = own * (1 + (d->gamma * ratio + d->poly * (d->gamma + 1)) * by_sum);
        sum_of_h[i] = (all[i] + h) * weight[i];
        grad_k[i] = (all[i] * by_sum - h * not_p_k[i]) * weight[i];
        by[i] = weight[i];
        weight[i] *= some[i] + own * (log_sum[i] + d->poly * not_p_k[i]);
    }
    if (!d->grad) return;
    for (int64_t c = 0; c < classes; c++)
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            e[c * BLOCK + i] = e[c * BLOCK + i] * sum_of_h[i] - q[c * BLOCK + i] * by[i];
    for (int64_t i = 0; i < n; i++) e[k[i] * BLOCK + i] = grad_k[i];
    for (int64_t c = 0; c < classes; c++) {
        const T scale = d->scale ? d->scale[c] : 1;
        const int64_t at = start + c * along;
        for (int64_t i = 0; i < n; i++) store(d->grad, at + i * across, e[c * BLOCK + i] * scale, kind);
    }
}

typedef struct {
    const OF(Problem) *p;
    int64_t rows_per_block, line, blocks_per_line; /* a line: samples that lie side by side */
    int lane_major, soft, kind;
    W denominator;
    T *losses; /* of each sample; or NULL: their sums alone */
    W *sums;   /* of the losses of each block */
} OF(Work);

/* A sample's own weight, 0 where it is ignored; and that of its class. */
INLINE W OF(sample_weight)(const OF(Problem) *p, int64_t i) {
    if (p->target && p->target[i] == p->ignore_index) return 0;
    return p->sample_weight ? p->sample_weight[i] : 1;
}

INLINE W OF(class_weight)(const OF(Problem) *p, int64_t i) {
    return p->weight && p->target && p->target[i] != p->ignore_index ? p->weight[p->target[i]] : 1;
}

INLINE void OF(soft_targets)(
    const OF(Work) *work, int64_t first, int64_t n, W *loss, T *scratch, int kind) {
    const OF(Problem) *p = work->p;
    for (int64_t i = 0; i < n; i++) loss[i] = OF(sample_weight)(p, first + i) / work->denominator;
    if (work->lane_major) {
        OF(soft_targets_lane_major)(p, first, n, loss, scratch, kind);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        if (loss[i])
            loss[i] = OF(soft_target_row_major)(p, first + i, loss[i], scratch, kind);
        else if (p->grad) /* whatever it holds */
            for (int64_t c = 0; c < p->num_classes; c++)
                store(p->grad, (first + i) * p->num_classes + c, 0, kind);
    }
}

INLINE void OF(class_numbers)(
    const OF(Work) *work, int64_t first, int64_t n, OF(Samples) *s, T *scratch, int kind) {
    const OF(Problem) *p = work->p;
    for (int64_t i = 0; i < n; i++) {
        int64_t target = p->target[first + i];
        s->weight[i] = OF(class_weight)(p, first + i) * OF(sample_weight)(p, first + i);
        s->weight[i] /= work->denominator;
        s->target[i] = target == p->ignore_index ? 0 : target;
    }
    if (work->lane_major) OF(class_numbers_lane_major)(p, first, n, s, scratch, kind);
    else OF(class_numbers_row_major)(p, first, n, s, scratch, kind);
}

/* The blocks first .. end - 1. Returns whether there was memory. */
static int OF(run)(const OF(Work) *work, int64_t first, int64_t end) {
    OF(Samples) s;
    int64_t numbers = work->p->num_classes * (work->soft ? 3 : 1);
    numbers *= work->lane_major ? BLOCK : work->soft ? 1 : work->rows_per_block;
    T *scratch = malloc(numbers * sizeof *scratch);
    if (!scratch) return 0;
    for (int64_t b = first; b < end; b++) {
        int64_t within = b % work->blocks_per_line * work->rows_per_block;
        int64_t sample = b / work->blocks_per_line * work->line + within;
        int64_t n = OF(smaller)(work->line - within, work->rows_per_block);
        if (work->soft && work->kind == BFLOAT16)
            OF(soft_targets)(work, sample, n, s.loss, scratch, BFLOAT16);
        else if (work->soft) OF(soft_targets)(work, sample, n, s.loss, scratch, KIND);
        else if (work->kind == BFLOAT16) OF(class_numbers)(work, sample, n, &s, scratch, BFLOAT16);
        else OF(class_numbers)(work, sample, n, &s, scratch, KIND);
        work->sums[b] = 0;
        for (int64_t i = 0; i < n; i++) {
            if (work->losses) work->losses[sample + i] = s.loss[i];
            work->sums[b] += s.loss[i];
        }
    }
    free(scratch);
    return 1;
}

/* Writes the losses of n samples, or their reduction, and the gradient. `normalizer` < 0: none is given.
Returns 0; 1 for a class number out of range; 2 without memory. */
int64_t OF(adjusted_cross_entropy)(
    const void *logits, void *grad, T *losses, const int64_t *target, const T *soft_target,
    const T *weight, const T *sample_weight, const T *scale, const T *offset, const T *margin,
    const T *gammas, double gamma, double poly, double smoothing, int64_t ignore_index, int64_t n,
    int64_t num_classes, int64_t inner_size, int64_t reduction, double normalizer, int64_t kind,
    int64_t threads) {
    const OF(Problem) problem = {logits, grad, target, soft_target, weight, sample_weight, scale, offset,
        margin, gammas, num_classes, inner_size, ignore_index, gamma, poly, smoothing}, *p = &problem;
    const int soft = soft_target || smoothing;
    const int lane_major = inner_size > 1 || num_classes <= LANE_MAJOR_CLASSES;
    const int64_t fit = SCRATCH / num_classes > 0 ? SCRATCH / num_classes : 1;
    const int64_t rows_per_block = lane_major || soft || fit > BLOCK ? BLOCK : fit;
    const int64_t line = inner_size > 1 ? inner_size : n;
    const int64_t blocks_per_line = (line + rows_per_block - 1) / rows_per_block;
    const int64_t num_blocks = line ? n / line * blocks_per_line : 0; /* the same for any threads */
    W total = 0, valid = 0, loss = 0;
    for (int64_t i = 0; i < n; i++) {
        if (target && target[i] == ignore_index) continue;
        if (target && (target[i] < 0 || target[i] >= num_classes)) return 1;
        total += OF(class_weight)(p, i) * OF(sample_weight)(p, i);
        valid += 1;
    }
    W by = normalizer >= 0 ? normalizer : reduction == MEAN ? total : reduction == BATCHMEAN ? valid : 1;
    if (by == 0) { /* torch's mean of nothing, whose gradient is 0 */
        loss = NAN;
        by = 1;
    }
    W *sums = malloc((num_blocks + 1) * sizeof *sums);
    if (!sums) return 2;
    T *each = reduction == NONE ? losses : NULL;
    const OF(Work) work = {p, rows_per_block, line, blocks_per_line, lane_major, soft, kind, by, each, sums};
    int memory = 1;
    if (threads == 1 || n * num_classes < PARALLEL) {
        memory = OF(run)(&work, 0, num_blocks);
    } else {
#pragma omp parallel num_threads(threads) reduction(&& : memory)
        {
            const int64_t thread = omp_get_thread_num(), all = omp_get_num_threads();
            memory = OF(run)(&work, num_blocks * thread / all, num_blocks * (thread + 1) / all);
        }
    }
    if (memory && reduction != NONE) {
        for (int64_t b = 0; b < num_blocks; b++) loss += sums[b];
        *losses = loss;
    }
    free(sums);
    return memory ? 0 : 2;
}

#undef T
#undef W
#undef SUM_T
#undef OF
#undef KIND
#undef EXP_BELOW
#undef EXP
#undef LOG
#undef POW
#undef LOG1P
#undef POW_OF_T
#undef FABS
#undef TINY
#undef LARGEST
