// The coarse search of one view against another: the CUDA twin of pose_search_kernels.py, where the formulas are
// explained, with the same types and the same arithmetic in the same order.

// Adds the equation offset . v = value to a symmetric matrix (xx, xy, yy, xz, yz, zz) and a vector.
__device__ void add_equation(double *matrix, double *right, const double *v, double value, double weight) {
    for (int row = 0; row < 3; ++row) {
        right[row] += weight * v[row] * value;
        for (int col = 0; col <= row; ++col) matrix[row * (row + 1) / 2 + col] += weight * v[row] * v[col];
    }
}

// Solves matrix * x = right by the cofactors.
__device__ void solve(const double *m, const double *right, double *x) {
    double xx = m[2] * m[5] - m[4] * m[4], xy = m[3] * m[4] - m[1] * m[5], xz = m[1] * m[4] - m[2] * m[3];
    double yy = m[0] * m[5] - m[3] * m[3], yz = m[1] * m[3] - m[0] * m[4], zz = m[0] * m[2] - m[1] * m[1];
    double determinant = m[0] * xx + m[1] * xy + m[3] * xz;
    x[0] = (xx * right[0] + xy * right[1] + xz * right[2]) / determinant;
    x[1] = (xy * right[0] + yy * right[1] + yz * right[2]) / determinant;
    x[2] = (xz * right[0] + yz * right[1] + zz * right[2]) / determinant;
}

__device__ int nearest_direction(const float *directions, int num_directions, float x, float y, float z) {
    int best = 0;
    float largest = -2.0f;
    for (int index = 0; index < num_directions; ++index) {
        const float *direction = directions + 3 * index;
        float cosine = direction[0] * x + direction[1] * y + direction[2] * z;
        if (cosine > largest) {
            largest = cosine;
            best = index;
        }
    }
    return best;
}

// The support function of the target in a direction, from its map (y, x).
__device__ float support_at(const float *support_map, int map_size, const double *v) {
    double half = (map_size - 1) / 2.0;
    return support_map[(int)(v[1] * half + half + 0.5) * map_size + (int)(v[0] * half + half + 0.5)];
}

// Writes for each rotation source -> target (candidate, 3, 3) the offset by which the support functions fit best. One
// thread per candidate.
extern "C" __global__ void support_offsets(const float *rotations, int num_candidates, const float *directions,
                                           const float *supports, int num_directions, const float *support_map,
                                           int map_size, double source_height, double target_height,
                                           double substrate_weight, double prior_weight, float *offsets) {
    int candidate = blockIdx.x * blockDim.x + threadIdx.x;
    if (candidate >= num_candidates) return;
    const float *rotation = rotations + 9 * candidate;
    double matrix[6] = {prior_weight, 0.0, prior_weight, 0.0, 0.0, prior_weight}, right[3] = {0.0, 0.0, 0.0}, v[3];
    for (int index = 0; index < num_directions; ++index) {
        const float *direction = directions + 3 * index;
        for (int axis = 0; axis < 3; ++axis)
            v[axis] = rotation[3 * axis] * direction[0] + rotation[3 * axis + 1] * direction[1] +
                      rotation[3 * axis + 2] * direction[2];
        if (v[2] >= 0.0) add_equation(matrix, right, v, support_at(support_map, map_size, v) - supports[index], 1.0);
    }
    const float *down = rotation + 6;  // minus this is the target's downward direction in the source's frame
    if (-down[2] > 0.0f) {
        int index = nearest_direction(directions, num_directions, -down[0], -down[1], -down[2]);
        v[0] = v[1] = 0.0;
        v[2] = -1.0;
        add_equation(matrix, right, v, target_height - supports[index], substrate_weight);
        for (int axis = 0; axis < 3; ++axis) v[axis] = -rotation[3 * axis + 2];
        add_equation(matrix, right, v, support_at(support_map, map_size, v) - source_height, substrate_weight);
    }
    solve(matrix, right, v);
    for (int axis = 0; axis < 3; ++axis) offsets[3 * candidate + axis] = (float)v[axis];
}

// The mean cost of every step-th point (point, xyz) in the nearest cell of a distance grid.
__device__ double fit_cost(const float *points, int num_points, int step, const float *rotation, const float *offset,
                           const float *distance, int num_z, int num_y, int num_x, const float *corner, double band,
                           double clip) {
    double base_x = (offset[0] - corner[0]) + 0.5, base_y = (offset[1] - corner[1]) + 0.5;
    double base_z = (offset[2] - corner[2]) + 0.5, total = 0.0;
    int count = 0;
    for (int point = 0; point < num_points; point += step) {
        float p_x = points[3 * point], p_y = points[3 * point + 1], p_z = points[3 * point + 2];
        double x = (rotation[0] * p_x + rotation[1] * p_y + rotation[2] * p_z) + base_x;
        double y = (rotation[3] * p_x + rotation[4] * p_y + rotation[5] * p_z) + base_y;
        double z = (rotation[6] * p_x + rotation[7] * p_y + rotation[8] * p_z) + base_z;
        double d = clip;
        if (x >= 0.0 && x < num_x && y >= 0.0 && y < num_y && z >= 0.0 && z < num_z)
            d = fmin(fmax((double)distance[((int)z * num_y + (int)y) * num_x + (int)x], -band), clip);
        total += d * d;
        ++count;
    }
    return total / count;
}

// Writes the cost of each pose source -> target, points of both views in the other one. One thread per candidate.
extern "C" __global__ void search_costs(const float *rotations, const float *offsets, int num_candidates,
                                        const float *source_points, const float *target_points, int num_points,
                                        int step, const float *source_distance, const float *target_distance,
                                        int num_z, int num_y, int num_x, const float *source_corner,
                                        const float *target_corner, double band, double clip, float *costs) {
    int candidate = blockIdx.x * blockDim.x + threadIdx.x;
    if (candidate >= num_candidates) return;
    const float *rotation = rotations + 9 * candidate, *offset = offsets + 3 * candidate;
    float inverse[9], back[3];
    for (int axis = 0; axis < 3; ++axis) {
        float *row = inverse + 3 * axis;
        for (int part = 0; part < 3; ++part) row[part] = rotation[3 * part + axis];
        back[axis] = -(row[0] * offset[0] + row[1] * offset[1] + row[2] * offset[2]);
    }
    double forward_cost = fit_cost(source_points, num_points, step, rotation, offset, target_distance, num_z, num_y,
                                   num_x, target_corner, band, clip);
    double backward_cost = fit_cost(target_points, num_points, step, inverse, back, source_distance, num_z, num_y,
                                    num_x, source_corner, band, clip);
    costs[candidate] = (float)(forward_cost + backward_cost);
}
