/* What a card can do: Euler-Maruyama ensembles in CUDA C++, as a yardstick for relaxsim's kernels on it.
 *
 *     nvcc -O3 -arch=native yardstick.cu -o yardstick
 *     ./yardstick ROW PARTICLES STEPS
 *
 * prints "SECONDS MEAN MEAN_SQUARE" (of the kernel alone, by CUDA's own clock; the means are over all components of the
 * final state; T = 1/2, dt = 1e-3). Rows: T1 T2 T3, with the random numbers and steps of yardstick.c. A thread has one
 * particle, in T1 the two that share a call of Philox; the state is a structure of arrays.
 */
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

static constexpr double T = 0.5, DT = 1e-3;
static constexpr uint64_t KEY = 42;
static constexpr int THREADS = 128;

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        cudaError_t error = (call);                                                                                    \
        if (error != cudaSuccess) {                                                                                    \
            fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(error));                                             \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* ---- Philox4x32-10: Salmon et al., SC'11, doi 10.1145/2063384.2063405 */

__device__ inline void philox(uint64_t particle, uint64_t step, uint32_t draw, uint64_t *first, uint64_t *second)
{
    uint32_t c0 = (uint32_t)particle, c1 = draw, c2 = (uint32_t)step, c3 = (uint32_t)(step >> 32);
    uint32_t k0 = (uint32_t)KEY, k1 = (uint32_t)(KEY >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)c0 * 0xD2511F53u, p1 = (uint64_t)c2 * 0xCD9E8D57u;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1, c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    *first = (uint64_t)c0 << 32 | c1, *second = (uint64_t)c2 << 32 | c3;
}

/* ---- two normals from two words: Box and Muller with polynomials, as in yardstick.c */

__device__ inline double logarithm(double u)
{
    int64_t ix = __double_as_longlong(u), k = (ix - 0x3fe6a09e667f3bcdll) >> 52;
    double f = __longlong_as_double(ix - (k << 52)) - 1.0, s = f / (f + 2.0), z = s * s;
    double r = 0.15313837699209373 + z * 0.14798198605116586;
    r = 0.22222198432149784 + z * (0.18183572161618050 + z * r);
    r = z * (0.66666666666667351 + z * (0.39999999999409419 + z * (0.28571428743662391 + z * r)));
    return (double)k * 0.69314718055994531 + (s * 2.0 + s * r);
}

__device__ inline void sine_cosine_eighth(double t, double *sine, double *cosine)
{
    double z = t * t;
    double s = -1. / 5040 + z * (1. / 362880 + z * (-1. / 39916800 + z * (1. / 6227020800.0)));
    double c = 1. / 40320 + z * (-1. / 3628800 + z * (1. / 479001600 + z * (-1. / 87178291200.0)));
    *sine = t * (1.0 + z * (-1. / 6 + z * (1. / 120 + z * s)));
    *cosine = 1.0 + z * (-0.5 + z * (1. / 24 + z * (-1. / 720 + z * c)));
}

__device__ inline void normals(uint64_t particle, uint64_t step, uint32_t draw, double *first, double *second)
{
    uint64_t b0, b1;
    philox(particle, step, draw, &b0, &b1);
    double u = 2.0 - __longlong_as_double((long long)((b0 >> 12) | 0x3ff0000000000000ull)); /* (0, 1] */
    double w = __longlong_as_double((long long)((b1 >> 12) | 0x3ff0000000000000ull)) - 1.5; /* [-1/2, 1/2) */
    double radius = sqrt(logarithm(u) * -2.0), s, c;
    sine_cosine_eighth(w * 1.5707963267948966, &s, &c);
    radius = b1 & 2 ? -radius : radius;
    *first = radius * (b1 & 1 ? s : c);
    *second = radius * (b1 & 1 ? c : s);
}

/* ---- T1: dx = (x - x^3) dt + sqrt(2T) dW */

__global__ void run_t1(double *x, long n, long steps)
{
    long i = blockIdx.x * (long)THREADS + threadIdx.x, j = i + n / 2;
    if (j >= n)
        return;
    double amplitude = sqrt(2 * T * DT), a = x[i], b = x[j], z0, z1;
    for (long k = 0; k < steps; k++) {
        normals(i, k, 0, &z0, &z1);
        a = a + (a - a * a * a) * DT + z0 * amplitude;
        b = b + (b - b * b * b) * DT + z1 * amplitude;
    }
    x[i] = a, x[j] = b;
}

/* ---- T2: E = (x^2 - 1)^2 + y^2/2 + 0.3 x y, K = diag(1 + sin(x)^2/2, 1 + sin(y)^2/2) */

__device__ inline double sine_mobility_step(double x, double slope, double z)
{
    double s, c;
    sincos(x + x, &s, &c);
    double K = 1.25 - 0.25 * c, dK = 0.5 * s;
    return x + (dK * T - K * slope) * DT + sqrt(K * (2 * T * DT)) * z;
}

__global__ void run_t2(double *x, long n, long steps)
{
    long i = blockIdx.x * (long)THREADS + threadIdx.x;
    if (i >= n)
        return;
    double a = x[i], b = x[n + i], z0, z1;
    for (long k = 0; k < steps; k++) {
        normals(i, k, 0, &z0, &z1);
        double there = sine_mobility_step(a, 4.0 * a * (a * a - 1.0) + 0.3 * b, z0);
        b = sine_mobility_step(b, b + 0.3 * a, z1), a = there;
    }
    x[i] = a, x[n + i] = b;
}

/* ---- T3: the diffusion machine on [0, 1]^8, E = x'Wx/2, W_ij = cos(1 + i j), K_i = 2 x_i (1 - x_i), mirror walls */

__constant__ double W[8][8];

__global__ void run_t3(double *x, long n, long steps)
{
    long i = blockIdx.x * (long)THREADS + threadIdx.x;
    if (i >= n)
        return;
    double y[8], slope[8], z[8];
#pragma unroll
    for (int a = 0; a < 8; a++)
        y[a] = x[a * n + i];
    for (long k = 0; k < steps; k++) {
#pragma unroll
        for (int a = 0; a < 8; a++) {
            slope[a] = y[0] * W[a][0];
#pragma unroll
            for (int b = 1; b < 8; b++)
                slope[a] += y[b] * W[a][b];
        }
#pragma unroll
        for (int q = 0; q < 4; q++)
            normals(i, k, q, &z[2 * q], &z[2 * q + 1]);
#pragma unroll
        for (int a = 0; a < 8; a++) {
            double K = 2.0 * y[a] * (1.0 - y[a]), dK = 2.0 - 4.0 * y[a];
            double there = y[a] + (T * dK - K * slope[a]) * DT + sqrt(K * (2 * T * DT)) * z[a];
            y[a] = 1.0 - fabs(1.0 - fabs(there)); /* mirror images at 0 and at 1 */
        }
    }
#pragma unroll
    for (int a = 0; a < 8; a++)
        x[a * n + i] = y[a];
}

/* ---- the command line */

static const struct {
    const char *name;
    void (*run)(double *, long, long);
    int dim, particles_a_thread;
    double start;
} ROWS[] = {{"T1", run_t1, 1, 2, 1.0}, {"T2", run_t2, 2, 1, 1.0}, {"T3", run_t3, 8, 1, 0.5}};

int main(int argc, char **argv)
{
    size_t row = 0, rows = sizeof ROWS / sizeof *ROWS;
    while (argc == 4 && row < rows && strcmp(argv[1], ROWS[row].name))
        row++;
    long n = argc == 4 ? atol(argv[2]) : 0, steps = argc == 4 ? atol(argv[3]) : 0;
    if (argc != 4 || row == rows || n <= 0 || steps < 0 || n % (2 * THREADS)) {
        fprintf(stderr, "usage: yardstick ROW PARTICLES STEPS; particles come in multiples of %d\n", 2 * THREADS);
        return 2;
    }
    double matrix[8][8];
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++)
            matrix[i][j] = cos(1.0 + i * j);
    CHECK(cudaMemcpyToSymbol(W, matrix, sizeof matrix));

    size_t count = (size_t)n * ROWS[row].dim;
    std::vector<double> host(count, ROWS[row].start);
    double *x;
    CHECK(cudaMalloc(&x, count * sizeof(double)));
    long blocks = n / ROWS[row].particles_a_thread / THREADS;
    ROWS[row].run<<<blocks, THREADS>>>(x, n, 0); /* the first launch loads the program */
    CHECK(cudaMemcpy(x, host.data(), count * sizeof(double), cudaMemcpyHostToDevice));

    cudaEvent_t before, after;
    CHECK(cudaEventCreate(&before));
    CHECK(cudaEventCreate(&after));
    CHECK(cudaEventRecord(before));
    ROWS[row].run<<<blocks, THREADS>>>(x, n, steps);
    CHECK(cudaEventRecord(after));
    CHECK(cudaEventSynchronize(after));
    CHECK(cudaGetLastError());
    float milliseconds;
    CHECK(cudaEventElapsedTime(&milliseconds, before, after));

    CHECK(cudaMemcpy(host.data(), x, count * sizeof(double), cudaMemcpyDeviceToHost));
    double sum = 0, squares = 0;
    for (double value : host)
        sum += value, squares += value * value;
    printf("%.9g %.9g %.9g\n", 1e-3 * milliseconds, sum / count, squares / count);
    return 0;
}
