// Fits of poses: the CUDA twin of pose_fit_kernels.py, where the formulas are explained. Same types and the same
// arithmetic; only the sums over the points of a view are taken in another order. Blocks have NUM_THREADS threads,
// which share the points of a view.

#include "pose_point.cuh"

#define NUM_THREADS 128
#define SUMS_STRIDE 29

// Solves matrix * x = right by Cholesky; the lower half of the matrix, packed, is overwritten, and right by x.
__device__ void solve(double *matrix, double *right) {
    for (int row = 0; row < 6; ++row) {
        for (int col = 0; col <= row; ++col) {
            double rest = matrix[packed(row, col)];
            for (int inner = 0; inner < col; ++inner) rest -= matrix[packed(row, inner)] * matrix[packed(col, inner)];
            matrix[packed(row, col)] = row == col ? sqrt(rest) : rest / matrix[packed(col, col)];
        }
        for (int inner = 0; inner < row; ++inner) right[row] -= matrix[packed(row, inner)] * right[inner];
        right[row] /= matrix[packed(row, row)];
    }
    for (int row = 5; row >= 0; --row) {
        for (int inner = row + 1; inner < 6; ++inner) right[row] -= matrix[packed(inner, row)] * right[inner];
        right[row] /= matrix[packed(row, row)];
    }
}

// Sums what all threads of a block have, in the order of the threads; both arrays after the first are shared.
__device__ void sum_over_block(const double *own, double *of_threads, double *sums) {
    for (int value = 0; value < NUM_SUMS; ++value) of_threads[threadIdx.x * SUMS_STRIDE + value] = own[value];
    __syncthreads();
    if (threadIdx.x < NUM_SUMS) {
        double total = 0.0;
        for (int thread = 0; thread < NUM_THREADS; ++thread) total += of_threads[thread * SUMS_STRIDE + threadIdx.x];
        sums[threadIdx.x] = total;
    }
    __syncthreads();
}

// The pose whose view's points, seen in the world, are those of the old one moved by the twist.
__device__ Pose moved_pose(const Pose &pose, const double *twist) {
    double square = twist[0] * twist[0] + twist[1] * twist[1] + twist[2] * twist[2], angle = sqrt(square);
    double sine = angle < 1e-12 ? 1.0 : sin(angle) / angle;
    double cosine = angle < 1e-6 ? 0.5 : (1.0 - cos(angle)) / square;
    double cross[9] = {0.0, -twist[2], twist[1], twist[2], 0.0, -twist[0], -twist[1], twist[0], 0.0}, turn[9];
    for (int row = 0; row < 3; ++row)
        for (int col = 0; col < 3; ++col) {
            double twice = 0.0;
            for (int inner = 0; inner < 3; ++inner) twice += cross[3 * row + inner] * cross[3 * inner + col];
            turn[3 * row + col] = (row == col) + sine * cross[3 * row + col] + cosine * twice;
        }
    Pose moved;
    relative_turn(pose.rotation, turn, moved.rotation);
    for (int axis = 0; axis < 3; ++axis) {
        const double *row = moved.rotation + 3 * axis;
        moved.offset[axis] = pose.offset[axis] - (row[0] * twist[3] + row[1] * twist[4] + row[2] * twist[5]);
    }
    return moved;
}

// The pose one damped step on.
__device__ Pose stepped_pose(const Pose &pose, const double *sums, double damping) {
    double matrix[21], twist[6];
    for (int entry = 0; entry < 21; ++entry) matrix[entry] = sums[entry];
    for (int axis = 0; axis < 6; ++axis) {
        matrix[packed(axis, axis)] += damping * sums[packed(axis, axis)] + 1e-9;
        twist[axis] = -sums[RIGHT + axis];
    }
    solve(matrix, twist);
    return moved_pose(pose, twist);
}

// Writes into shared sums those of one view's pose against the fixed poses of others.
__device__ void sum_against(const Views &views, const Cost &cost, int view, const Pose &pose, const int *others,
                            int num_others, const double *rotations, const double *offsets, double *of_threads,
                            double *sums) {
    double own[NUM_SUMS] = {};
    for (int index = 0; index < num_others; ++index) {
        Pose other_pose = read_pose(rotations, offsets, index);
        add_pair_equations(views, cost, view, others[index], pose, other_pose, 1.0, own);
        add_pair_equations(views, cost, others[index], view, other_pose, pose, -1.0, own);
    }
    sum_over_block(own, of_threads, sums);
}

struct Fit {
    Pose pose;
    double damping, sums[NUM_SUMS];
};

// Takes the step that was tried if it lowers the cost, else damps the next one; says whether to stop.
__device__ bool take_or_damp(Fit &fit, const Pose &tried, const double *tried_sums) {
    double total = fit.sums[TOTAL], new_total = tried_sums[TOTAL];
    if (new_total < total) {
        fit.pose = tried;
        for (int value = 0; value < NUM_SUMS; ++value) fit.sums[value] = tried_sums[value];
        fit.damping = fmax(fit.damping / 5.0, 1e-6);
        return total - new_total < 1e-4 * total;
    }
    fit.damping *= 8.0;
    return fit.damping > 1e4;
}

// The parameters of kernels.
#define VIEWS                                                                                                         \
    const float *points, const float *normals, int points_per_view, int num_points, const float *distance, int num_z, \
        int num_y, int num_x, const float *corners, const float *heights, int image_size, const float *centers,       \
        double pixel_cells, double steepest_slope
#define COST double band, double clip, double surface_band, double grid_weight, double surface_weight
#define READ_VIEWS                                                                                          \
    Views views = {points,  normals, points_per_view, num_points, distance,    num_z,         num_y, num_x, \
                   corners, heights, image_size,      centers,    pixel_cells, steepest_slope};
#define READ_COST Cost cost = {band, clip, surface_band, grid_weight, surface_weight};

// Refines poses world -> view (candidate, ...) in place against the fixed poses of other views (other, ...), and writes
// their mean costs. One block per candidate.
extern "C" __global__ void refine_candidates(VIEWS, COST, int view, const int *others, int num_others,
                                             const double *rotations, const double *offsets, int num_steps,
                                             double *candidate_rotations, double *candidate_offsets, double *costs) {
    __shared__ double of_threads[NUM_THREADS * SUMS_STRIDE], tried_sums[NUM_SUMS];
    __shared__ Fit fit;
    __shared__ Pose tried;
    __shared__ bool should_stop;
    READ_VIEWS
    READ_COST
    long long candidate = blockIdx.x;
    if (threadIdx.x == 0) {
        fit.pose = read_pose(candidate_rotations, candidate_offsets, candidate);
        fit.damping = 1e-2;
    }
    __syncthreads();
    sum_against(views, cost, view, fit.pose, others, num_others, rotations, offsets, of_threads, fit.sums);
    for (int step = 0; step < num_steps; ++step) {
        if (threadIdx.x == 0) tried = stepped_pose(fit.pose, fit.sums, fit.damping);
        __syncthreads();
        sum_against(views, cost, view, tried, others, num_others, rotations, offsets, of_threads, tried_sums);
        if (threadIdx.x == 0) should_stop = take_or_damp(fit, tried, tried_sums);
        __syncthreads();
        if (should_stop) break;
    }
    if (threadIdx.x == 0) {
        for (int entry = 0; entry < 9; ++entry) candidate_rotations[9 * candidate + entry] = fit.pose.rotation[entry];
        for (int axis = 0; axis < 3; ++axis) candidate_offsets[3 * candidate + axis] = fit.pose.offset[axis];
        costs[candidate] = fit.sums[TOTAL] / (2 * num_others);
    }
}

// Writes the sums (pair, NUM_SUMS) of directed pairs, which are positions (pair, source and target) among some views
// and their poses. One block per pair.
extern "C" __global__ void pair_equations(VIEWS, COST, const int *views_at, const double *rotations,
                                          const double *offsets, const int *pairs, double *sums) {
    __shared__ double of_threads[NUM_THREADS * SUMS_STRIDE];
    READ_VIEWS
    READ_COST
    int source = pairs[2 * blockIdx.x], target = pairs[2 * blockIdx.x + 1];
    Pose source_pose = read_pose(rotations, offsets, source), target_pose = read_pose(rotations, offsets, target);
    double own[NUM_SUMS] = {};
    add_pair_equations(views, cost, views_at[source], views_at[target], source_pose, target_pose, 1.0, own);
    sum_over_block(own, of_threads, sums + (long long)NUM_SUMS * blockIdx.x);
}

// Adds to zeros (pair, 2) how many of the source's points touch the target's surface, and how many break it. Poses are
// (pair, ...), pairs (pair, source and target view). One block per pair.
extern "C" __global__ void count_fits(VIEWS, const float *ceilings, const double *source_rotations,
                                      const double *source_offsets, const double *target_rotations,
                                      const double *target_offsets, const int *pairs, double contact_band,
                                      double allowance, int *counts) {
    READ_VIEWS
    int source = pairs[2 * blockIdx.x], target = pairs[2 * blockIdx.x + 1], num_touching = 0, num_breaking = 0;
    Pose source_pose = read_pose(source_rotations, source_offsets, blockIdx.x);
    Pose target_pose = read_pose(target_rotations, target_offsets, blockIdx.x);
    double turn[9], shift[3], at[3], normal[3], half = image_size / 2.0;
    relative_turn(target_pose.rotation, source_pose.rotation, turn);
    for (int axis = 0; axis < 3; ++axis)
        shift[axis] = target_pose.offset[axis] -
                      (turn[3 * axis] * source_pose.offset[0] + turn[3 * axis + 1] * source_pose.offset[1] +
                       turn[3 * axis + 2] * source_pose.offset[2]) +
                      centers[3 * target + axis];
    const float *ceiling = ceilings + (long long)target * image_size * image_size;
    for (int point = threadIdx.x; point < num_points; point += blockDim.x) {
        long long place = 3 * ((long long)source * points_per_view + point);
        for (int axis = 0; axis < 3; ++axis)
            at[axis] = shift[axis] + turn[3 * axis] * points[place] + turn[3 * axis + 1] * points[place + 1] +
                       turn[3 * axis + 2] * points[place + 2];
        double col = floor(at[0] / pixel_cells + half), row = floor(half - at[1] / pixel_cells);
        bool is_inside = col >= 0.0 && col < image_size && row >= 0.0 && row < image_size;
        double top = is_inside ? ceiling[(int)row * image_size + (int)col] : 0.0;
        if (at[2] > top + allowance || at[2] < -allowance)
            ++num_breaking;
        else if (fabs(surface_residual(views, target, at, normal)) < contact_band)
            num_touching += do_agree(turn, normals + place, normal);
    }
    atomicAdd(&counts[2 * blockIdx.x], num_touching);
    atomicAdd(&counts[2 * blockIdx.x + 1], num_breaking);
}
