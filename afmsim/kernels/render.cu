// Ray casting through an occupancy grid: the CUDA twin of render_cpu.py, with the same float arithmetic in the same
// order. Volumes are (z, y, x); the occupancy has 4 * num_blocks + 1 voxels per axis.

#define BLOCK_BITS 2
// Stands for a zero in a direction; 1e-9 voxel per step never leaves a block.
#define TINY 1e-9f
#define NO_SURFACE __int_as_float(0xff800000)  // -inf

__device__ float lerp_values(float first, float second, float part) { return first + part * (second - first); }

// The occupancy interpolated at a point with coordinates of at least 0.
__device__ float trilinear(const unsigned char *occupancy, int size_y, int size_x, float x, float y, float z) {
    int low_x = (int)x, low_y = (int)y, low_z = (int)z;
    float part_x = x - (float)low_x, part_y = y - (float)low_y, part_z = z - (float)low_z;
    const unsigned char *row_00 = occupancy + ((long long)low_z * size_y + low_y) * size_x + low_x;
    const unsigned char *row_01 = row_00 + size_x;
    const unsigned char *row_10 = row_00 + (long long)size_y * size_x;
    const unsigned char *row_11 = row_10 + size_x;
    float value_00 = lerp_values(row_00[0], row_00[1], part_x);
    float value_01 = lerp_values(row_01[0], row_01[1], part_x);
    float value_10 = lerp_values(row_10[0], row_10[1], part_x);
    float value_11 = lerp_values(row_11[0], row_11[1], part_x);
    return lerp_values(lerp_values(value_00, value_01, part_y), lerp_values(value_10, value_11, part_y), part_z);
}

// The height per voxel along an axis.
__device__ float inverse(float up) { return 1.0f / (fabsf(up) > TINY ? up : TINY); }

// How far a ray falls until it leaves the blocks nearer than skip along an axis, at most 1000.
__device__ float fall_to_border(float at, int block, int skip, float per) {
    int border = per > 0.0f ? (block - skip + 1) << BLOCK_BITS : (block + skip) << BLOCK_BITS;
    return fminf((at - (float)border) * per, 1000.0f);
}

// Marks the blocks that hold an occupied voxel or touch one. One thread per block.
extern "C" __global__ void find_active_blocks(const unsigned char *occupancy, int num_z, int num_y, int num_x,
                                              unsigned char *is_active) {
    int block = blockIdx.x * blockDim.x + threadIdx.x;
    if (block >= num_z * num_y * num_x) return;
    int size_y = 4 * num_y + 1, size_x = 4 * num_x + 1;
    int first_x = block % num_x * 4, first_y = block / num_x % num_y * 4, first_z = block / num_x / num_y * 4;
    unsigned char found = 0;
    for (int z = first_z; z <= first_z + 4; ++z)
        for (int y = first_y; y <= first_y + 4; ++y)
            for (int x = first_x; x <= first_x + 4; ++x)
                found |= occupancy[((long long)z * size_y + y) * size_x + x];
    is_active[block] = found;
}

// Goes down from each point (point, xyz), inside the body, in half voxels until the value falls below 0.5. One thread
// per point.
extern "C" __global__ void surface_depths(const unsigned char *occupancy, int num_y, int num_x,
                                          const float *points_xyz, int num_points, float up_x, float up_y,
                                          float up_z, float *depths) {
    int point = blockIdx.x * blockDim.x + threadIdx.x;
    if (point >= num_points) return;
    const float *at = points_xyz + 3 * (long long)point;
    float depth = 0.0f, above = 1.0f, value = 1.0f;
    while (value >= 0.5f) {
        above = value;
        depth += 0.5f;
        value = trilinear(occupancy, 4 * num_y + 1, 4 * num_x + 1, at[0] - depth * up_x, at[1] - depth * up_y,
                          at[2] - depth * up_z);
    }
    depths[point] = depth - 0.5f * (0.5f - value) / (above - value);
}

// Writes the surface's height from the grid's centre in voxels, -inf where missed, to surfaces (view, row, col).
// frame_xyz holds the grid's centre and one voxel behind the body's last voxel. One thread per pixel.
extern "C" __global__ void cast_rays(const unsigned char *occupancy, const unsigned char *skip_blocks, int num_y,
                                     int num_x, const float *frame_xyz, const float *view_rotations, int num_views,
                                     int image_size, float pixel_size_voxels, float top_voxels, float *surfaces) {
    long long pixel = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= (long long)num_views * image_size * image_size) return;
    int col = (int)(pixel % image_size), row = (int)(pixel / image_size % image_size);
    const float *rotation = view_rotations + 9 * (pixel / image_size / image_size);
    float half_size = (float)(image_size - 1) * 0.5f;
    float view_y = (half_size - (float)row) * pixel_size_voxels;
    float view_x = ((float)col - half_size) * pixel_size_voxels;
    float base[3], per[3], lowest = -top_voxels, highest = top_voxels;
    for (int axis = 0; axis < 3; ++axis) {
        base[axis] = frame_xyz[axis] + (view_x * rotation[axis] + view_y * rotation[3 + axis]);
        per[axis] = inverse(rotation[6 + axis]);
        float first = (1.0f - base[axis]) * per[axis], last = (frame_xyz[3 + axis] - base[axis]) * per[axis];
        lowest = fmaxf(lowest, fminf(first, last));
        highest = fminf(highest, fmaxf(first, last));
    }
    surfaces[pixel] = NO_SURFACE;
    if (lowest > highest) return;
    int step = (int)ceilf((top_voxels - highest) * 2.0f), last_step = (int)((top_voxels - lowest) * 2.0f);
    float above = 0.0f;
    while (step <= last_step) {
        float height = top_voxels - 0.5f * (float)step;
        float x = base[0] + height * rotation[6], y = base[1] + height * rotation[7];
        float z = base[2] + height * rotation[8];
        int block_x = (int)x >> BLOCK_BITS, block_y = (int)y >> BLOCK_BITS, block_z = (int)z >> BLOCK_BITS;
        int skip = skip_blocks[((long long)block_z * num_y + block_y) * num_x + block_x];
        if (skip > 0) {
            float leave = fminf(fall_to_border(x, block_x, skip, per[0]), fall_to_border(y, block_y, skip, per[1]));
            leave = fminf(leave, fall_to_border(z, block_z, skip, per[2]));
            step += (int)(leave * 2.0f) + 1;
            above = 0.0f;
            continue;
        }
        float value = trilinear(occupancy, 4 * num_y + 1, 4 * num_x + 1, x, y, z);
        if (value >= 0.5f) {
            surfaces[pixel] = height + 0.5f * (value - 0.5f) / (value - above);
            return;
        }
        above = value;
        step += 1;
    }
}
