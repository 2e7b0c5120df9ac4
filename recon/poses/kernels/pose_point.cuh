// What the surface points of one view cost in another: the CUDA twin of pose_point_kernels.py, where the formulas are
// explained. Same types and the same arithmetic.
//
// A pose maps points of the world into a view: p_view = rotation * p_world + offset. Matrices are (row, col).

#define OUTSIDE 1e6
#define LEAST_NORMAL_AGREEMENT 0.8
// What is summed over points: the lower half of the 6 x 6 matrix, the vector and the cost.
#define NUM_SUMS 28
#define RIGHT 21
#define TOTAL 27

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
