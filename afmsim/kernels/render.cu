// Ray casting through an occupancy grid: the CUDA twin of render_cpu.py, with the same float arithmetic in the same
// order. Volumes are (z, y, x). A cell is the cube between eight voxel centres: bit 4 * dz + 2 * dy + dx is a corner.

#define BLOCK_BITS 2
#define LOW_MARGIN 2  // as in afmsim.render
// Stands for a zero in a direction; 1e-9 voxel per step never leaves a block.
#define TINY 1e-9f
#define TILE_SIZE 4  // pixels along an axis of a tile
#define MARGIN 0.01f  // voxels; far more than float32 rounds, far less than a step of a ray
#define NO_TOP (-0x7fffffff - 1)
#define INFINITE __int_as_float(0x7f800000)

__device__ float lerp_values(float first, float second, float part) { return first + part * (second - first); }

// The occupancy interpolated at a point with coordinates of at least 0.
__device__ float sample(const unsigned char *cells, int size_y, int size_x, float x, float y, float z) {
    int low_x = (int)x, low_y = (int)y, low_z = (int)z;
    int corners = cells[((long long)low_z * size_y + low_y) * size_x + low_x];
    if (corners == 0) return 0.0f;
    if (corners == 255) return 1.0f;
    float part_x = x - (float)low_x, part_y = y - (float)low_y, part_z = z - (float)low_z;
    float value_00 = lerp_values((float)(corners & 1), (float)(corners >> 1 & 1), part_x);
    float value_01 = lerp_values((float)(corners >> 2 & 1), (float)(corners >> 3 & 1), part_x);
    float value_10 = lerp_values((float)(corners >> 4 & 1), (float)(corners >> 5 & 1), part_x);
    float value_11 = lerp_values((float)(corners >> 6 & 1), (float)(corners >> 7), part_x);
    return lerp_values(lerp_values(value_00, value_01, part_y), lerp_values(value_10, value_11, part_y), part_z);
}

// The height per voxel along an axis.
__device__ float inverse(float up) { return 1.0f / (fabsf(up) > TINY ? up : TINY); }

// How far a ray falls until it leaves the blocks nearer than skip along an axis, at most 1000.
__device__ float fall_to_border(float at, int block, int skip, float per) {
    int border = per > 0.0f ? (block - skip + 1) << BLOCK_BITS : (block + skip) << BLOCK_BITS;
    return fminf((at - (float)border) * per, 1000.0f);
}

// An integer that is ordered as the float is, and the way back.
__device__ int ordered_int(float value) {
    int bits = __float_as_int(value);
    return bits ^ (bits >> 31 & 0x7fffffff);
}

__device__ float ordered_float(int ordered) { return __int_as_float(ordered ^ (ordered >> 31 & 0x7fffffff)); }

// The height of a voxel centre from the grid's centre.
__device__ float end_height(int x, int y, int z, const float *up_xyz, int grid_size) {
    float half_size = (float)(grid_size - 1) * 0.5f;
    float height_x = ((float)x - half_size) * up_xyz[0], height_y = ((float)y - half_size) * up_xyz[1];
    return height_x + height_y + ((float)z - half_size) * up_xyz[2];
}

// Goes down from an occupied voxel's centre, in voxels of the cells, in half voxels until the value falls below 0.5.
__device__ float surface_depth(const unsigned char *cells, int size_y, int size_x, float x, float y, float z,
                               const float *up_xyz) {
    float depth = 0.0f, above = 1.0f, value = 1.0f;
    while (value >= 0.5f) {
        above = value;
        depth += 0.5f;
        value = sample(cells, size_y, size_x, x - depth * up_xyz[0], y - depth * up_xyz[1], z - depth * up_xyz[2]);
    }
    return depth - 0.5f * (0.5f - value) / (above - value);
}

// Writes the first and the last occupied voxel of each row to spans (z, y, end), -1 in an empty row. One thread per row.
extern "C" __global__ void find_row_spans(const unsigned char *occupancy, int grid_size, int *spans) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= grid_size * grid_size) return;
    const unsigned char *voxels = occupancy + (long long)row * grid_size;
    int first = 0, last = grid_size - 1;
    while (first < grid_size && voxels[first] == 0) ++first;
    while (last > first && voxels[last] == 0) --last;
    spans[2 * row] = first == grid_size ? -1 : first;
    spans[2 * row + 1] = first == grid_size ? -1 : last;
}

// Gathers the corners of each cell from the first voxel on; outside the grid is empty. One thread per cell.
extern "C" __global__ void gather_corners(const unsigned char *occupancy, int grid_size, int first_x, int first_y,
                                          int first_z, int num_z, int num_y, int num_x, unsigned char *cells) {
    long long cell = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (cell >= (long long)num_z * num_y * num_x) return;
    int x = first_x + (int)(cell % num_x), y = first_y + (int)(cell / num_x % num_y);
    int z = first_z + (int)(cell / num_x / num_y);
    int corners = 0;
    for (int corner = 0; corner < 8; ++corner) {
        int at_x = x + (corner & 1), at_y = y + (corner >> 1 & 1), at_z = z + (corner >> 2);
        int is_in_grid = at_x >= 0 && at_x < grid_size && at_y >= 0 && at_y < grid_size && at_z >= 0 && at_z < grid_size;
        if (is_in_grid) corners |= occupancy[((long long)at_z * grid_size + at_y) * grid_size + at_x] << corner;
    }
    cells[cell] = (unsigned char)corners;
}

// Writes 0 for a block without an occupied corner, 2 for one with occupied corners only, else 1. One thread per block.
extern "C" __global__ void find_block_kinds(const unsigned char *cells, int num_z, int num_y, int num_x,
                                            unsigned char *kinds) {
    int block = blockIdx.x * blockDim.x + threadIdx.x;
    if (block >= num_z * num_y * num_x) return;
    int size_y = 4 * num_y, size_x = 4 * num_x;
    int first_x = block % num_x * 4, first_y = block / num_x % num_y * 4, first_z = block / num_x / num_y * 4;
    int any_corner = 0, all_corners = 255;
    for (int z = first_z; z < first_z + 4; ++z)
        for (int y = first_y; y < first_y + 4; ++y)
            for (int x = first_x; x < first_x + 4; ++x) {
                int corners = cells[((long long)z * size_y + y) * size_x + x];
                any_corner |= corners;
                all_corners &= corners;
            }
    kinds[block] = any_corner == 0 ? 0 : (all_corners == 255 ? 2 : 1);
}

// How far a block reaches from its middle along a direction, with a margin for rounding, in voxels.
__device__ float block_reach(const float *direction_xyz) {
    return 2.0f * (fabsf(direction_xyz[0]) + fabsf(direction_xyz[1]) + fabsf(direction_xyz[2])) + MARGIN;
}

__device__ int first_tile(float middle, float reach) { return (int)fmaxf(floorf(middle - reach), 0.0f) / TILE_SIZE; }

__device__ int last_tile(float middle, float reach, int num_tiles) {
    int last = (int)fmaxf(ceilf(middle + reach), 0.0f) / TILE_SIZE;
    return last < num_tiles - 1 ? last : num_tiles - 1;
}

// Finds a height above which each tile of pixels (view, row, col) sees nothing, as an ordered integer. One thread per
// block, one block of threads in y per view.
extern "C" __global__ void find_tile_tops(const unsigned char *block_kinds, int num_z, int num_y, int num_x,
                                          const float *frame_xyz, const float *view_rotations,
                                          float pixel_size_voxels, int image_size, int *tile_tops) {
    int block = blockIdx.x * blockDim.x + threadIdx.x;
    if (block >= num_z * num_y * num_x || block_kinds[block] != 1) return;
    const float *rotation = view_rotations + 9 * blockIdx.y;
    int num_tiles = (image_size + TILE_SIZE - 1) / TILE_SIZE;
    float half_size = (float)(image_size - 1) * 0.5f;
    float x = (float)(block % num_x * 4 + 2) - frame_xyz[0];
    float y = (float)(block / num_x % num_y * 4 + 2) - frame_xyz[1];
    float z = (float)(block / num_x / num_y * 4 + 2) - frame_xyz[2];
    float view_x = (rotation[0] * x + rotation[1] * y + rotation[2] * z) / pixel_size_voxels;
    float view_y = (rotation[3] * x + rotation[4] * y + rotation[5] * z) / pixel_size_voxels;
    float top = rotation[6] * x + rotation[7] * y + rotation[8] * z + block_reach(rotation + 6);
    float reach_x = block_reach(rotation) / pixel_size_voxels, reach_y = block_reach(rotation + 3) / pixel_size_voxels;
    int last_row = last_tile(half_size - view_y, reach_y, num_tiles);
    int last_col = last_tile(half_size + view_x, reach_x, num_tiles);
    for (int row = first_tile(half_size - view_y, reach_y); row <= last_row; ++row)
        for (int col = first_tile(half_size + view_x, reach_x); col <= last_col; ++col)
            atomicMax(&tile_tops[((long long)blockIdx.y * num_tiles + row) * num_tiles + col], ordered_int(top));
}

// Finds the lowest end of a row in each view as an ordered integer. One thread per y, one block in y per view.
extern "C" __global__ void find_lowest_ends(const int *spans, int grid_size, const float *view_rotations,
                                            int *lowest_ends) {
    int y = blockIdx.x * blockDim.x + threadIdx.x;
    if (y >= grid_size) return;
    const float *up_xyz = view_rotations + 9 * blockIdx.y + 6;
    float lowest = INFINITE;
    for (int z = 0; z < grid_size; ++z) {
        const int *span = spans + 2 * ((long long)z * grid_size + y);
        if (span[0] < 0) continue;
        for (int end = 0; end < 2; ++end) lowest = fminf(lowest, end_height(span[end], y, z, up_xyz, grid_size));
    }
    atomicMin(&lowest_ends[blockIdx.y], ordered_int(lowest));
}

// Finds the lowest crossing of the surface below the lowest ends. One thread per y, one block in y per view.
extern "C" __global__ void find_substrates(const int *spans, int grid_size, const unsigned char *cells, int size_y,
                                           int size_x, int first_x, int first_y, int first_z,
                                           const float *view_rotations, const int *lowest_ends, int *substrates) {
    int y = blockIdx.x * blockDim.x + threadIdx.x;
    if (y >= grid_size) return;
    const float *up_xyz = view_rotations + 9 * blockIdx.y + 6;
    float lowest = ordered_float(lowest_ends[blockIdx.y]), substrate = INFINITE;
    for (int z = 0; z < grid_size; ++z) {
        const int *span = spans + 2 * ((long long)z * grid_size + y);
        if (span[0] < 0) continue;
        for (int end = 0; end < 2; ++end) {
            float height = end_height(span[end], y, z, up_xyz, grid_size);
            if (height >= lowest + 1.0f) continue;
            float at_x = (float)(span[end] - first_x + LOW_MARGIN), at_y = (float)(y - first_y + LOW_MARGIN);
            float at_z = (float)(z - first_z + LOW_MARGIN);
            float depth = surface_depth(cells, size_y, size_x, at_x, at_y, at_z, up_xyz);
            substrate = fminf(substrate, height - depth);
        }
    }
    atomicMin(&substrates[blockIdx.y], ordered_int(substrate));
}

// Writes the surface's height above the floor of its view in nm, 0 where missed, to images_nm (view, row, col); where
// is_through, the way inside the body instead. Floors are ordered integers in voxels. frame_xyz holds the grid's centre
// and one voxel behind the body's last voxel. One thread per pixel.
extern "C" __global__ void cast_rays(const unsigned char *cells, const unsigned char *skip_blocks, int num_y, int num_x,
                                     const int *tile_tops, const float *frame_xyz, const float *view_rotations,
                                     int num_views, int image_size, float pixel_size_voxels, float top_voxels, const int *floors,
                                     int is_through, float voxel_size_nm, float *images_nm) {
    long long pixel = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= (long long)num_views * image_size * image_size) return;
    int col = (int)(pixel % image_size), row = (int)(pixel / image_size % image_size);
    const float *rotation = view_rotations + 9 * (pixel / image_size / image_size);
    float half_size = (float)(image_size - 1) * 0.5f;
    float view_y = (half_size - (float)row) * pixel_size_voxels;
    float view_x = ((float)col - half_size) * pixel_size_voxels;
    int num_tiles = (image_size + TILE_SIZE - 1) / TILE_SIZE;
    long long tile = (pixel / image_size / image_size * num_tiles + row / TILE_SIZE) * num_tiles + col / TILE_SIZE;
    images_nm[pixel] = 0.0f;
    if (tile_tops[tile] == NO_TOP) return;
    float base[3], per[3], lowest = -top_voxels, highest = ordered_float(tile_tops[tile]);
    for (int axis = 0; axis < 3; ++axis) {
        base[axis] = frame_xyz[axis] + (view_x * rotation[axis] + view_y * rotation[3 + axis]);
        per[axis] = inverse(rotation[6 + axis]);
        float first = (1.0f - base[axis]) * per[axis], last = (frame_xyz[3 + axis] - base[axis]) * per[axis];
        lowest = fmaxf(lowest, fminf(first, last));
        highest = fminf(highest, fmaxf(first, last));
    }
    if (lowest > highest) return;
    int step = (int)ceilf((top_voxels - highest) * 2.0f), last_step = (int)((top_voxels - lowest) * 2.0f);
    float floor_height = ordered_float(floors[pixel / image_size / image_size]);
    float above = 0.0f, inside = 0.0f;
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
        float value = sample(cells, 4 * num_y, 4 * num_x, x, y, z);
        inside += value;
        if (value >= 0.5f && !is_through) {
            float surface = height + 0.5f * (value - 0.5f) / (value - above);
            images_nm[pixel] = fmaxf(surface - floor_height, 0.0f) * voxel_size_nm;
            return;
        }
        above = value;
        step += 1;
    }
    if (is_through) images_nm[pixel] = fmaxf(inside * 0.5f - floor_height, 0.0f) * voxel_size_nm;
}
