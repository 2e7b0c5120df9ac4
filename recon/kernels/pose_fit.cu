// Fits of poses: the CUDA twin of pose_fit_kernels.py and pose_point_kernels.py, where the formulas are explained. Same
// types and the same arithmetic; only the sums over the points of a view are taken in another order.
//
// A pose maps points of the world into a view: p_view = rotation * p_world + offset. Matrices are (row, col). Blocks
// have NUM_THREADS threads, which share the points of a view.

#define NUM_THREADS 128
#define OUTSIDE 1e6
#define LEAST_NORMAL_AGREEMENT 0.8
// What is summed over points: the lower half of the 6 x 6 matrix, the vector and the cost.
#define NUM_SUMS 28
#define RIGHT 21
#define TOTAL 27
#define SUMS_STRIDE 29

// The views of one protein, the view as first axis; points, normals, corners and centers are (view, ..., xyz).
struct Views {
    const float *points, *normals;
    int points_per_view, num_points;  // stored, and used
    const float *distance;
    int num_z, num_y, num_x;
    const float *corners;
    const float *heights;
    int image_size;
    const float *centers;
    double pixel_cells, steepest_slope;
};

struct Cost {
    double band, clip, surface_band, grid_weight, surface_weight;
};

struct Pose {
    double rotation[9], offset[3];
};

// Place of an entry of the lower half of a symmetric matrix, row >= col.
__device__ int packed(int row, int col) { return row * (row + 1) / 2 + col; }

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
    for (int row = 6 - 1; row >= 0; --row) {
        for (int inner = row + 1; inner < 6; ++inner) right[row] -= matrix[packed(inner, row)] * right[inner];
        right[row] /= matrix[packed(row, row)];
    }
}

// The trilinear distance at a point in grid indices, and its gradient; far outside the grid.
__device__ double distance_and_gradient(const Views &views, int view, const double *at, double *gradient) {
    gradient[0] = gradient[1] = gradient[2] = 0.0;
    double x = at[0], y = at[1], z = at[2];
    if (!(x >= 0.0 && x < views.num_x - 1 && y >= 0.0 && y < views.num_y - 1 && z >= 0.0 && z < views.num_z - 1))
        return OUTSIDE;
    int low_x = (int)x, low_y = (int)y, low_z = (int)z;
    double part_x = x - low_x, part_y = y - low_y, part_z = z - low_z;
    long long layer = (long long)views.num_y * views.num_x;
    const float *low = views.distance + (view * (long long)views.num_z + low_z) * layer + low_y * views.num_x + low_x;
    const float *high = low + layer;
    float d000 = low[0], d001 = low[1], d010 = low[views.num_x], d011 = low[views.num_x + 1];
    float d100 = high[0], d101 = high[1], d110 = high[views.num_x], d111 = high[views.num_x + 1];
    double d00 = d000 + part_x * (d001 - d000), d01 = d010 + part_x * (d011 - d010);
    double d10 = d100 + part_x * (d101 - d100), d11 = d110 + part_x * (d111 - d110);
    double d0 = d00 + part_y * (d01 - d00), d1 = d10 + part_y * (d11 - d10);
    double slope_0 = (d001 - d000) + part_y * ((d011 - d010) - (d001 - d000));
    double slope_1 = (d101 - d100) + part_y * ((d111 - d110) - (d101 - d100));
    gradient[0] = slope_0 + part_z * (slope_1 - slope_0);
    gradient[1] = (d01 - d00) + part_z * ((d11 - d10) - (d01 - d00));
    gradient[2] = d1 - d0;
    return d0 + part_z * (d1 - d0);
}

// The signed distance of a point, from the image's centre on the substrate, to the plane of the surface below or above
// it, and that normal; OUTSIDE next to the background and on walls.
__device__ double surface_residual(const Views &views, int view, const double *at, double *normal) {
    int size = views.image_size;
    double half = (size - 1) / 2.0, pixel = views.pixel_cells;
    double col = at[0] / pixel + half, row = half - at[1] / pixel;
    if (!(col >= 0.0 && col < size - 1 && row >= 0.0 && row < size - 1)) return OUTSIDE;
    int low_col = (int)col, low_row = (int)row;
    double part_col = col - low_col, part_row = row - low_row;
    const float *corner = views.heights + ((long long)view * size + low_row) * size + low_col;
    float h00 = corner[0], h01 = corner[1], h10 = corner[size], h11 = corner[size + 1];
    if (fminf(fminf(h00, h01), fminf(h10, h11)) <= 0.0f) return OUTSIDE;
    float right_upper = h01 - h00, right_lower = h11 - h10;
    double slope_x = (right_upper + part_row * (right_lower - right_upper)) / pixel;
    double upper = h00 + part_col * right_upper, lower = h10 + part_col * right_lower;
    double slope_y = -(lower - upper) / pixel;
    if (slope_x * slope_x + slope_y * slope_y > views.steepest_slope * views.steepest_slope) return OUTSIDE;
    normal[2] = 1.0 / sqrt(1.0 + slope_x * slope_x + slope_y * slope_y);
    normal[0] = -slope_x * normal[2];
    normal[1] = -slope_y * normal[2];
    return (at[2] - (upper + part_row * (lower - upper))) * normal[2];
}

// Does a source's normal, turned into the target, agree with the target's?
__device__ bool do_agree(const double *turn, const float *source_normal, const double *target_normal) {
    double cosine = 0.0;
    for (int axis = 0; axis < 3; ++axis)
        for (int part = 0; part < 3; ++part)
            cosine += turn[3 * axis + part] * source_normal[part] * target_normal[axis];
    return cosine > LEAST_NORMAL_AGREEMENT;
}

// Adds the equation of a point of the world and a residual with a gradient in the target's axes. The sums are the lower
// half of the 6 x 6 matrix, the vector with a sign, and the cost.
__device__ void add_residual(const double *world, const double *rotation, const double *gradient, double residual,
                             double share, double sign, double *sums) {
    double arm[6];
    for (int axis = 0; axis < 3; ++axis)
        arm[3 + axis] =
            rotation[axis] * gradient[0] + rotation[3 + axis] * gradient[1] + rotation[6 + axis] * gradient[2];
    arm[0] = world[1] * arm[5] - world[2] * arm[4];
    arm[1] = world[2] * arm[3] - world[0] * arm[5];
    arm[2] = world[0] * arm[4] - world[1] * arm[3];
    for (int row = 0; row < 6; ++row) {
        sums[RIGHT + row] += sign * share * arm[row] * residual;
        for (int col = 0; col <= row; ++col) sums[packed(row, col)] += share * arm[row] * arm[col];
    }
    sums[TOTAL] += share * residual * residual;
}

// The rotation from the source into the target, (3, 3).
__device__ void relative_turn(const double *target_rotation, const double *source_rotation, double *turn) {
    for (int row = 0; row < 3; ++row)
        for (int col = 0; col < 3; ++col)
            turn[3 * row + col] = target_rotation[3 * row] * source_rotation[3 * col] +
                                  target_rotation[3 * row + 1] * source_rotation[3 * col + 1] +
                                  target_rotation[3 * row + 2] * source_rotation[3 * col + 2];
}

// Adds the equations of this thread's share of the source's points in the target.
__device__ void add_pair_equations(const Views &views, const Cost &cost, int source, int target,
                                   const Pose &source_pose, const Pose &target_pose, double sign, double *sums) {
    const float *corner = views.corners + 3 * target, *center = views.centers + 3 * target;
    double turn[9], world[3], at[3], moved[3], gradient[3], apart[3];
    relative_turn(target_pose.rotation, source_pose.rotation, turn);
    double share = 1.0 / views.num_points, grid_share = share * cost.grid_weight;
    double surface_share = share * cost.surface_weight / (cost.surface_band * cost.surface_band);
    for (int point = threadIdx.x; point < views.num_points; point += blockDim.x) {
        const float *place = views.points + 3 * ((long long)source * views.points_per_view + point);
        const float *normal = views.normals + 3 * ((long long)source * views.points_per_view + point);
        for (int axis = 0; axis < 3; ++axis) apart[axis] = place[axis] - source_pose.offset[axis];
        for (int axis = 0; axis < 3; ++axis)
            world[axis] = source_pose.rotation[axis] * apart[0] + source_pose.rotation[3 + axis] * apart[1] +
                          source_pose.rotation[6 + axis] * apart[2];
        for (int axis = 0; axis < 3; ++axis)
            at[axis] = target_pose.offset[axis] + target_pose.rotation[3 * axis] * world[0] +
                       target_pose.rotation[3 * axis + 1] * world[1] + target_pose.rotation[3 * axis + 2] * world[2];
        for (int axis = 0; axis < 3; ++axis) moved[axis] = at[axis] - corner[axis];
        double d = distance_and_gradient(views, target, moved, gradient);
        if (d >= cost.clip)
            sums[TOTAL] += grid_share * cost.clip * cost.clip;
        else if (d <= -cost.band)
            sums[TOTAL] += grid_share * cost.band * cost.band;
        else
            add_residual(world, target_pose.rotation, gradient, d, grid_share, sign, sums);
        if (surface_share <= 0.0) continue;
        for (int axis = 0; axis < 3; ++axis) moved[axis] = at[axis] + center[axis];
        double residual = surface_residual(views, target, moved, gradient);
        if (fabs(residual) < cost.surface_band && do_agree(turn, normal, gradient))
            add_residual(world, target_pose.rotation, gradient, residual, surface_share, sign, sums);
        else
            sums[TOTAL] += surface_share * cost.surface_band * cost.surface_band;
    }
}

__device__ Pose read_pose(const double *rotations, const double *offsets, long long index) {
    Pose pose;
    for (int entry = 0; entry < 9; ++entry) pose.rotation[entry] = rotations[9 * index + entry];
    for (int axis = 0; axis < 3; ++axis) pose.offset[axis] = offsets[3 * index + axis];
    return pose;
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
