/* The work of `compiled.c` in the type T, each sample's own numbers in the wider W. */

typedef struct {
    const void *z;
    void *slopes; /* or NULL: the losses alone */
    const int64_t *target;
    const T *weight, *sample_weight, *scale, *offset, *margin; /* each may be NULL */
    int64_t n, classes, pixels, ignore_index;
    double gamma, poly;
} OF(Problem);

typedef struct {
    int64_t target[BLOCK];
    T top[BLOCK], ratio[BLOCK];
    W factor[BLOCK], a_t[BLOCK], total[BLOCK], loss[BLOCK], slope[BLOCK];
} OF(Samples);

/* From a_t, top and total the losses, the slopes, and what turns exponentials into gradients. */
static void OF(losses_and_gradients)(OF(Samples) *s, int64_t n, const OF(Problem) *p) {
    const double gamma = p->gamma, poly = p->poly;
    W margin[BLOCK], power[BLOCK];
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        W a_t = s->a_t[i], d = (s->top[i] - a_t) + LOG(s->total[i]);
        d = a_t == INFINITY || (a_t == -INFINITY && s->total[i] == 0) ? NAN : d; /* as in softmax */
        s->loss[i] = d == INFINITY ? INFINITY : 0;
        margin[i] = d > DBL_MAX ? DBL_MAX : d;
    }
    if (p->margin)
        for (int64_t i = 0; i < n; i++) margin[i] += p->margin[s->target[i]];
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        W d = margin[i], x = EXP(-FABS(d)), both = 1 + x, off = both - 1;
        W softplus = (d > 0 ? d : 0) + (off == 0 ? x : LOG(both) * (x / off));
        W miss = (d > 0 ? 1 : x) / both, hit = (d > 0 ? x : 1) / both;
        s->slope[i] = miss + hit * (gamma * softplus + poly * (gamma + 1) * miss);
        s->loss[i] += softplus + poly * miss;
        power[i] = miss;
    }
    if (gamma == 0) {
        for (int64_t i = 0; i < n; i++) power[i] = 1;
    } else if (gamma == 2) {
        for (int64_t i = 0; i < n; i++) power[i] *= power[i];
    } else if (gamma != 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) power[i] = POW(power[i], gamma);
    }
    for (int64_t i = 0; i < n; i++) {
        W factor = s->factor[i] * power[i];
        s->loss[i] = s->factor[i] ? s->loss[i] * factor : 0;
        s->slope[i] = s->factor[i] ? s->slope[i] * factor : 0;
        s->ratio[i] = s->factor[i] ? s->slope[i] / (s->total[i] > TINY ? s->total[i] : TINY) : 0;
    }
}

/* n samples from `first` on, side by side: a class's numbers are e[c * BLOCK + i]. */
INLINE void OF(across_samples)(
    const OF(Problem) *p, int64_t image, int64_t first, int64_t n, OF(Samples) *s, T *e, int kind) {
    const int64_t classes = p->classes, pixels = p->pixels, neighbours = pixels > 1;
    const int64_t start = image * classes * pixels + first * (neighbours ? 1 : classes);
    if (neighbours) {
        for (int64_t c = 0; c < classes; c++)
#pragma omp simd
            for (int64_t i = 0; i < n; i++) e[c * BLOCK + i] = load(p->z, start + c * pixels + i, kind);
    } else {
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < classes; c++)
                e[c * BLOCK + i] = load(p->z, start + i * classes + c, kind);
    }
    for (int64_t c = 0; c < classes && (p->scale || p->offset); c++) {
        T scale = p->scale ? p->scale[c] : 1, offset = p->offset ? p->offset[c] : 0;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) e[c * BLOCK + i] = e[c * BLOCK + i] * scale + offset;
    }
    for (int64_t i = 0; i < n; i++) {
        if (!s->factor[i]) /* whatever it holds */
            for (int64_t c = 0; c < classes; c++) e[c * BLOCK + i] = 0;
        s->a_t[i] = e[s->target[i] * BLOCK + i];
        e[s->target[i] * BLOCK + i] = -INFINITY;
        s->top[i] = -LARGEST; /* there may be no other class */
        s->total[i] = 0;
    }
    for (int64_t c = 0; c < classes; c++)
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            s->top[i] = e[c * BLOCK + i] > s->top[i] ? e[c * BLOCK + i] : s->top[i];
    for (int64_t from = 0; from < classes; from += CHUNK) {
        int64_t to = from + CHUNK < classes ? from + CHUNK : classes;
        SUM sum[BLOCK] = {0};
        for (int64_t c = from; c < to; c++) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) e[c * BLOCK + i] = EXP_BELOW(e[c * BLOCK + i], s->top[i]);
#pragma omp simd
            for (int64_t i = 0; i < n; i++) sum[i] += e[c * BLOCK + i];
        }
        for (int64_t i = 0; i < n; i++) s->total[i] += sum[i];
    }
    OF(losses_and_gradients)(s, n, p);
    if (!p->slopes) return;
    for (int64_t c = 0; c < classes; c++) {
        T scale = p->scale ? p->scale[c] : 1;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            e[c * BLOCK + i] = (s->target[i] == c ? -s->slope[i] : e[c * BLOCK + i] * s->ratio[i]) * scale;
    }
    if (neighbours) {
        for (int64_t c = 0; c < classes; c++)
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                store(p->slopes, start + c * pixels + i, e[c * BLOCK + i], kind);
    } else {
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < classes; c++)
                store(p->slopes, start + i * classes + c, e[c * BLOCK + i], kind);
    }
}

/* n samples from `first` on, of many classes: a sample's numbers are e[i * classes + c]. */
INLINE void OF(across_classes)(
    const OF(Problem) *p, int64_t first, int64_t n, OF(Samples) *s, T *e, int kind) {
    const int64_t classes = p->classes;
    for (int64_t i = 0; i < n; i++) {
        T *row = e + i * classes, top = -LARGEST;
        const int64_t start = (first + i) * classes, t = s->target[i];
        W total = 0;
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) row[c] = load(p->z, start + c, kind);
        if (p->scale)
#pragma omp simd
            for (int64_t c = 0; c < classes; c++) row[c] *= p->scale[c];
        if (p->offset)
#pragma omp simd
            for (int64_t c = 0; c < classes; c++) row[c] += p->offset[c];
        if (!s->factor[i]) memset(row, 0, classes * sizeof *row); /* whatever it holds */
        s->a_t[i] = row[t];
        row[t] = -INFINITY;
#pragma omp simd reduction(max : top)
        for (int64_t c = 0; c < classes; c++) top = row[c] > top ? row[c] : top;
        for (int64_t from = 0; from < classes; from += 16 * CHUNK) {
            int64_t to = from + 16 * CHUNK < classes ? from + 16 * CHUNK : classes;
            SUM sum = 0;
#pragma omp simd
            for (int64_t c = from; c < to; c++) row[c] = EXP_BELOW(row[c], top);
#pragma omp simd reduction(+ : sum)
            for (int64_t c = from; c < to; c++) sum += row[c];
            total += sum;
        }
        s->top[i] = top;
        s->total[i] = total;
    }
    OF(losses_and_gradients)(s, n, p);
    if (!p->slopes) return;
    for (int64_t i = 0; i < n; i++) {
        T *row = e + i * classes, ratio = s->ratio[i];
        const int64_t start = (first + i) * classes, t = s->target[i];
        if (p->scale)
#pragma omp simd
            for (int64_t c = 0; c < classes; c++) row[c] *= p->scale[c];
#pragma omp simd
        for (int64_t c = 0; c < classes; c++) store(p->slopes, start + c, row[c] * ratio, kind);
        store(p->slopes, start + t, -s->slope[i] * (p->scale ? p->scale[t] : 1), kind);
    }
}

/* A sample's mass; 0 where it is ignored. */
INLINE W OF(mass)(const OF(Problem) *p, int64_t i) {
    int64_t t = p->target[i];
    if (t == p->ignore_index) return 0;
    return (p->weight ? (W)p->weight[t] : 1) * (p->sample_weight ? p->sample_weight[i] : 1);
}

typedef struct {
    const OF(Problem) *p;
    int64_t high, line, cuts, beside; /* samples of a block and of a line, blocks of a line */
    int kind;
    W by;
    T *losses; /* each sample's; or NULL: their sums alone */
    W *sums;   /* of each block */
} OF(Work);

/* The blocks within first .. end - 1. Returns whether there was memory. */
static int OF(run)(const OF(Work) *work, int64_t first, int64_t end) {
    const OF(Problem) *p = work->p;
    OF(Samples) s;
    T *e = malloc((work->beside ? BLOCK : work->high) * p->classes * sizeof *e);
    if (!e) return 0;
    for (int64_t b = first; b < end; b++) {
        int64_t image = b / work->cuts, begin = b % work->cuts * work->high;
        int64_t sample = image * work->line + begin;
        int64_t many = work->line - begin < work->high ? work->line - begin : work->high;
        for (int64_t i = 0; i < many; i++) {
            int64_t target = p->target[sample + i];
            s.factor[i] = OF(mass)(p, sample + i) / work->by;
            s.target[i] = target == p->ignore_index ? 0 : target;
        }
        if (work->beside && work->kind == BFLOAT16)
            OF(across_samples)(p, image, begin, many, &s, e, BFLOAT16);
        else if (work->kind == BFLOAT16) OF(across_classes)(p, begin, many, &s, e, BFLOAT16);
        else if (work->beside) OF(across_samples)(p, image, begin, many, &s, e, KIND);
        else OF(across_classes)(p, begin, many, &s, e, KIND);
        work->sums[b] = 0;
        for (int64_t i = 0; i < many; i++) {
            if (work->losses) work->losses[sample + i] = s.loss[i];
            work->sums[b] += s.loss[i];
        }
    }
    free(e);
    return 1;
}

/* Writes the losses, (n, pixels), or their sum, and the slopes. `divisor` < 0: what the reduction
asks for. Returns 0; 1 for a class number out of range; 2 without memory. */
int64_t OF(adjusted_cross_entropy)(
    const void *z, void *slopes, const int64_t *target, const T *weight, const T *sample_weight,
    const T *scale, const T *offset, const T *margin, T *losses, int64_t n, int64_t classes,
    int64_t pixels, int64_t ignore_index, double gamma, double poly, int64_t reduction,
    double divisor, int64_t kind, int64_t threads) {
    const OF(Problem) problem = {z, slopes, target, weight, sample_weight, scale, offset, margin,
                                 n, classes, pixels, ignore_index, gamma, poly}, *p = &problem;
    const int beside = pixels > 1 || classes <= SIDE_BY_SIDE;
    const int64_t fit = SCRATCH / classes > 0 ? SCRATCH / classes : 1;
    const int64_t high = beside || fit > BLOCK ? BLOCK : fit; /* samples of a block */
    const int64_t images = pixels > 1 ? n : 1, line = pixels > 1 ? pixels : n;
    const int64_t cuts = (line + high - 1) / high, blocks = images * cuts;
    W total = 0, counted = 0, loss = 0;
    for (int64_t i = 0; i < images * line; i++) {
        if (target[i] == ignore_index) continue;
        if (target[i] < 0 || target[i] >= classes) return 1;
        total += OF(mass)(p, i);
        counted += 1;
    }
    W by = divisor >= 0 ? divisor : reduction == MEAN ? total : reduction == BATCHMEAN ? counted : 1;
    if (by == 0) { /* torch's mean of nothing, whose gradient is 0 */
        loss = NAN;
        by = 1;
    }
    W *sums = malloc((blocks + 1) * sizeof *sums);
    if (!sums) return 2;
    T *each = reduction == NONE ? losses : NULL;
    const OF(Work) work = {p, high, line, cuts, beside, kind, by, each, sums};
    int memory = 1;
    if (threads == 1 || n * classes * pixels < 1 << 15) {
        memory = OF(run)(&work, 0, blocks);
    } else {
#pragma omp parallel num_threads(threads) reduction(&& : memory)
        {
            const int64_t thread = omp_get_thread_num(), all = omp_get_num_threads();
            memory = OF(run)(&work, blocks * thread / all, blocks * (thread + 1) / all);
        }
    }
    if (memory && reduction != NONE) {
        for (int64_t b = 0; b < blocks; b++) loss += sums[b];
        *losses = loss;
    }
    free(sums);
    return memory ? 0 : 2;
}

#include "expected.h"

#undef T
#undef W
#undef SUM
#undef CHUNK
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
