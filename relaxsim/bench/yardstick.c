/* What one core can do: Euler-Maruyama ensembles in C with vector extensions, as a yardstick for relaxsim's kernels.
 *
 *     gcc -O3 -march=native -mprefer-vector-width=512 -ffast-math -fno-math-errno yardstick.c -o yardstick -lm
 *     ./yardstick ROW PARTICLES STEPS
 *
 * prints "CPU_SECONDS MEAN MEAN_SQUARE" (over all components of the final state; T = 1/2, dt = 1e-3).
 * Rows: T1 T2 T3 T4 (Gaussian noise, Philox4x32-10 and Box-Muller) and T1-two-point (noise +-1, one bit a step).
 * Every number drawn is a function of (particle, step, key), as in relaxsim; a vector holds eight particles.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

typedef double vec __attribute__((vector_size(64)));
typedef uint64_t bits __attribute__((vector_size(64)));
typedef int64_t ints __attribute__((vector_size(64)));

#define INLINE static inline __attribute__((always_inline))
#define LANES 8

static const double T = 0.5, DT = 1e-3;
static const uint64_t KEY = 42;
static const bits LANE = {0, 1, 2, 3, 4, 5, 6, 7};

/* ---- the three operations that have an instruction but no vector operator */

INLINE bits multiply_low_halves(bits a, uint64_t b)
{
#ifdef __AVX512F__
    return (bits)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64((long long)b));
#else
    return (a & 0xffffffffull) * b;
#endif
}

INLINE vec square_root(vec a)
{
#ifdef __AVX512F__
    return (vec)_mm512_sqrt_pd((__m512d)a);
#else
    for (int i = 0; i < LANES; i++)
        a[i] = sqrt(a[i]);
    return a;
#endif
}

INLINE vec nearest(vec a)
{
#ifdef __AVX512F__
    return (vec)_mm512_roundscale_pd((__m512d)a, 8);
#else
    for (int i = 0; i < LANES; i++)
        a[i] = rint(a[i]);
    return a;
#endif
}

INLINE vec choose(ints mask, vec a, vec b) { return (vec)((mask & (ints)a) | (~mask & (ints)b)); }
INLINE vec absolute(vec a) { return (vec)((ints)a & 0x7fffffffffffffffll); }

/* ---- Philox4x32-10, one counter a lane: Salmon et al., SC'11, doi 10.1145/2063384.2063405 */

INLINE void philox(bits particle, uint64_t step, uint64_t draw, bits *first, bits *second)
{
    bits c0 = particle, c1 = (bits){} + draw, c2 = (bits){} + step, c3 = (bits){} + (step >> 32);
    uint32_t k0 = (uint32_t)KEY, k1 = (uint32_t)(KEY >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        /* high halves carry junk: the multiplication does not read them */
        bits p0 = multiply_low_halves(c0, 0xD2511F53ull), p1 = multiply_low_halves(c2, 0xCD9E8D57ull);
        bits n0 = (p1 >> 32) ^ c1 ^ (uint64_t)k0, n2 = (p0 >> 32) ^ c3 ^ (uint64_t)k1;
        c0 = n0, c1 = p1, c2 = n2, c3 = p0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    *first = (c0 << 32) | (c1 & 0xffffffffull);
    *second = (c2 << 32) | (c3 & 0xffffffffull);
}

/* ---- two normals from two words: Box and Muller with polynomials */

INLINE vec logarithm(vec u) /* of a positive normal number, by the reduction of fdlibm */
{
    ints ix = (ints)u, k = (ix - 0x3fe6a09e667f3bcdll) >> 52;
    vec f = (vec)(ix - (k << 52)) - 1.0, s = f / (f + 2.0), z = s * s;
    vec r = 0.15313837699209373 + z * 0.14798198605116586;
    r = 0.22222198432149784 + z * (0.18183572161618050 + z * r);
    r = z * (0.66666666666667351 + z * (0.39999999999409419 + z * (0.28571428743662391 + z * r)));
    return __builtin_convertvector(k, vec) * 0.69314718055994531 + (s * 2.0 + s * r);
}

INLINE void sine_cosine_eighth(vec t, vec *sine, vec *cosine) /* |t| <= pi/4 */
{
    vec z = t * t;
    vec s = -1. / 5040 + z * (1. / 362880 + z * (-1. / 39916800 + z * (1. / 6227020800.0)));
    vec c = 1. / 40320 + z * (-1. / 3628800 + z * (1. / 479001600 + z * (-1. / 87178291200.0)));
    *sine = t * (1.0 + z * (-1. / 6 + z * (1. / 120 + z * s)));
    *cosine = 1.0 + z * (-0.5 + z * (1. / 24 + z * (-1. / 720 + z * c)));
}

INLINE void sine_cosine(vec y, vec *sine, vec *cosine)
{
    vec n = nearest(y * 0.63661977236758134), s, c;
    sine_cosine_eighth((y - n * 1.5707963267341256) - n * 6.077100506506192e-11, &s, &c);
    ints quarter = __builtin_convertvector(n, ints), swap = -(quarter & 1);
    *sine = (vec)((ints)choose(swap, c, s) ^ ((quarter & 2) << 62));
    *cosine = (vec)((ints)choose(swap, s, c) ^ (((quarter + 1) & 2) << 62));
}

INLINE void box_muller(bits b0, bits b1, vec *first, vec *second)
{
    vec u = 2.0 - (vec)((b0 >> 12) | 0x3ff0000000000000ull);   /* (0, 1] */
    vec w = (vec)((b1 >> 12) | 0x3ff0000000000000ull) - 1.5;   /* [-1/2, 1/2) */
    vec radius = square_root(logarithm(u) * -2.0), s, c;
    sine_cosine_eighth(w * 1.5707963267948966, &s, &c);
    ints swap = -(ints)(b1 & 1), sign = (ints)((b1 & 2) << 62);
    *first = (vec)((ints)(radius * choose(swap, s, c)) ^ sign);
    *second = (vec)((ints)(radius * choose(swap, c, s)) ^ sign);
}

/* Several calls side by side: the processor overlaps their rounds, which is worth 10 to 20 %. */
INLINE void normals(int calls, const bits *particle, uint64_t step, const uint64_t *draw, vec *z)
{
    bits word[8];
#pragma GCC unroll 4
    for (int q = 0; q < calls; q++)
        philox(particle[q], step, draw[q], &word[2 * q], &word[2 * q + 1]);
#pragma GCC unroll 4
    for (int q = 0; q < calls; q++)
        box_muller(word[2 * q], word[2 * q + 1], &z[2 * q], &z[2 * q + 1]);
}

/* ---- T1: dx = (x - x^3) dt + sqrt(2T) dW; 32 particles in registers, pairs of vectors share a call */

INLINE vec double_well(vec x, vec z, double amplitude) { return x + (x - x * x * x) * DT + z * amplitude; }

static void run_t1(double *x, long n, long steps)
{
    double amplitude = sqrt(2 * T * DT);
    for (long i = 0; i < n; i += 4 * LANES) {
        vec *p = (vec *)(x + i), a = p[0], b = p[1], c = p[2], d = p[3], z[4];
        for (long k = 0; k < steps; k++) {
            normals(2, (bits[]){LANE + (uint64_t)i, LANE + (uint64_t)(i + LANES)}, k, (uint64_t[]){0, 0}, z);
            a = double_well(a, z[0], amplitude), b = double_well(b, z[1], amplitude);
            c = double_well(c, z[2], amplitude), d = double_well(d, z[3], amplitude);
        }
        p[0] = a, p[1] = b, p[2] = c, p[3] = d;
    }
}

/* The same with noise +-1: one Philox call serves eight vectors for 16 steps. */
static void run_t1_two_point(double *x, long n, long steps)
{
    vec amplitude = (vec){} + sqrt(2 * T * DT);
    for (long i = 0; i < n; i += 8 * LANES) {
        vec *p = (vec *)(x + i), y[8];
        memcpy(y, p, sizeof y);
        for (long k = 0; k < steps; k += 16) {
            bits word[2];
            philox(LANE + (uint64_t)i, k / 16, 0, &word[0], &word[1]);
            for (int part = 0; part < 2; part++)
                for (int q = 0; q < 8 && k + 8 * part + q < steps; q++) {
#pragma GCC unroll 8
                    for (int v = 0; v < 8; v++) {
                        vec kick = (vec)((word[part] & 0x8000000000000000ull) ^ (bits)amplitude);
                        word[part] <<= 1;
                        y[v] = double_well(y[v], kick, 1.0);
                    }
                }
        }
        memcpy(p, y, sizeof y);
    }
}

/* ---- T2: E = (x^2 - 1)^2 + y^2/2 + 0.3 x y, K = diag(1 + sin(x)^2/2, 1 + sin(y)^2/2) */

INLINE vec sine_mobility_step(vec x, vec slope, vec z)
{
    vec s, c;
    sine_cosine(x + x, &s, &c);
    vec K = 1.25 - 0.25 * c, dK = 0.5 * s;
    return x + (dK * T - K * slope) * DT + square_root(K * (2 * T * DT)) * z;
}

INLINE void t2_step(vec *x, vec *y, vec z0, vec z1)
{
    vec a = *x, b = *y;
    *x = sine_mobility_step(a, 4.0 * a * (a * a - 1.0) + 0.3 * b, z0);
    *y = sine_mobility_step(b, b + 0.3 * a, z1);
}

static void run_t2(double *x, long n, long steps) /* all first coordinates, then all second ones */
{
    for (long i = 0; i < n; i += 2 * LANES) {
        vec *p = (vec *)(x + i), *q = (vec *)(x + n + i), a = p[0], b = p[1], c = q[0], d = q[1], z[4];
        for (long k = 0; k < steps; k++) {
            normals(2, (bits[]){LANE + (uint64_t)i, LANE + (uint64_t)(i + LANES)}, k, (uint64_t[]){0, 0}, z);
            t2_step(&a, &c, z[0], z[1]);
            t2_step(&b, &d, z[2], z[3]);
        }
        p[0] = a, p[1] = b, q[0] = c, q[1] = d;
    }
}

/* ---- T3: the diffusion machine on [0, 1]^8, E = x'Wx/2, W_ij = cos(1 + i j), K_i = 2 x_i (1 - x_i), mirror walls */

static double W[8][8];

static void run_t3(double *x, long n, long steps) /* eight coordinates of a vector of particles together */
{
    for (long i = 0; i < n; i += LANES) {
        vec *p = (vec *)(x + 8 * i), y[8];
        memcpy(y, p, sizeof y);
        for (long k = 0; k < steps; k++) {
            vec slope[8], z[8];
#pragma GCC unroll 8
            for (int a = 0; a < 8; a++) {
                vec sum = y[0] * W[a][0];
#pragma GCC unroll 8
                for (int b = 1; b < 8; b++)
                    sum += y[b] * W[a][b];
                slope[a] = sum;
            }
            bits who = LANE + (uint64_t)i;
            normals(4, (bits[]){who, who, who, who}, k, (uint64_t[]){0, 1, 2, 3}, z);
#pragma GCC unroll 8
            for (int a = 0; a < 8; a++) {
                vec K = 2.0 * y[a] * (1.0 - y[a]), dK = 2.0 - 4.0 * y[a];
                vec there = y[a] + (T * dK - K * slope[a]) * DT + square_root(K * (2 * T * DT)) * z[a];
                y[a] = 1.0 - absolute(1.0 - absolute(there)); /* mirror images at 0 and at 1 */
            }
        }
        memcpy(p, y, sizeof y);
    }
}

/* ---- T4: dx = -A x dt + sqrt(2T) dW in 64 dimensions, A = I + B B'/64; 24 particles, products in 8 x 3 vectors */

static double A[64][64];

static void run_t4(double *x, long n, long steps)
{
    double amplitude = sqrt(2 * T * DT);
    static double state[64][24] __attribute__((aligned(64))), slope[64][24] __attribute__((aligned(64)));
    for (long i = 0; i < n; i += 24) {
        memcpy(state, x + 64 * i, sizeof state);
        for (long k = 0; k < steps; k++) {
            for (int row = 0; row < 64; row += 8) {
                vec sum[8][3];
                memset(sum, 0, sizeof sum);
                for (int b = 0; b < 64; b++) {
                    vec *y = (vec *)state[b], y0 = y[0], y1 = y[1], y2 = y[2];
#pragma GCC unroll 8
                    for (int q = 0; q < 8; q++) {
                        double factor = A[b][row + q]; /* A is symmetric */
                        sum[q][0] += factor * y0, sum[q][1] += factor * y1, sum[q][2] += factor * y2;
                    }
                }
#pragma GCC unroll 8
                for (int q = 0; q < 8; q++)
                    memcpy(slope[row + q], sum[q], sizeof sum[q]);
            }
            vec *y = (vec *)state, *g = (vec *)slope;
            bits who = LANE + (uint64_t)i;
            for (int four = 0; four < 48; four++) {
                vec z[4];
                normals(2, (bits[]){who, who}, k, (uint64_t[]){2 * four, 2 * four + 1}, z);
#pragma GCC unroll 4
                for (int q = 0; q < 4; q++)
                    y[4 * four + q] += z[q] * amplitude - g[4 * four + q] * DT;
            }
        }
        memcpy(x + 64 * i, state, sizeof state);
    }
}

/* ---- the command line */

static const struct {
    const char *name;
    void (*run)(double *, long, long);
    int dim, multiple; /* particles come in multiples of this */
    double start;
} ROWS[] = {
    {"T1", run_t1, 1, 4 * LANES, 1.0},
    {"T1-two-point", run_t1_two_point, 1, 8 * LANES, 1.0},
    {"T2", run_t2, 2, 2 * LANES, 1.0},
    {"T3", run_t3, 8, LANES, 0.5},
    {"T4", run_t4, 64, 24, 1.0},
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fill_matrices(void)
{
    static double B[64][64];
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++)
            W[i][j] = cos(1.0 + i * j);
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < 64; j++)
            B[i][j] = sin(1.0 + 64 * i + j);
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < 64; j++) {
            double sum = 0;
            for (int k = 0; k < 64; k++)
                sum += B[i][k] * B[j][k];
            A[i][j] = (i == j) + sum / 64;
        }
}

int main(int argc, char **argv)
{
    size_t row = 0, rows = sizeof ROWS / sizeof *ROWS;
    while (argc == 4 && row < rows && strcmp(argv[1], ROWS[row].name))
        row++;
    long n = argc == 4 ? atol(argv[2]) : 0, steps = argc == 4 ? atol(argv[3]) : 0;
    if (argc != 4 || row == rows || n <= 0 || steps < 0 || n % ROWS[row].multiple) {
        fprintf(stderr, "usage: yardstick ROW PARTICLES STEPS; a row takes a multiple of 8 to 64 particles\n");
        return 2;
    }
    long size = n * ROWS[row].dim;
    double *x = aligned_alloc(64, sizeof(double) * (size_t)size);
    if (!x)
        return 3;
    fill_matrices();
    for (long i = 0; i < size; i++)
        x[i] = ROWS[row].start;
    double started = cpu_seconds();
    ROWS[row].run(x, n, steps);
    double seconds = cpu_seconds() - started, mean = 0, square = 0;
    for (long i = 0; i < size; i++)
        mean += x[i], square += x[i] * x[i];
    printf("%.9f %.6f %.6f\n", seconds, mean / (double)size, square / (double)size);
    return 0;
}
