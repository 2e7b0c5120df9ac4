// Solid voxelization: the CUDA twin of voxelize_cpu.py, equal to the bit because all of it is integer arithmetic.
//
// Three grids of toggle bits, one per ray direction, of shape (z, y, word): bit x % 32 of word x / 32. Each axis has
// one more slot than voxels, which takes the crossings behind the last voxel centre; after the scan it tells whether
// the row had an odd number of crossings.

#define STEPS 1024
#define STEP_BITS 10

__device__ int num_words_of(int grid_size) { return grid_size / 32 + 1; }

// Smallest edge function that counts as inside: 0 if points on the edge belong to it, else 1. The rule is that of
// points moved by an infinitesimal step along columns and a yet smaller one along rows.
__device__ long long edge_tie(long long from_col, long long from_row, long long to_col, long long to_row) {
    return (to_row < from_row || (to_row == from_row && to_col > from_col)) ? 0 : 1;
}

__device__ long long smallest(long long first, long long second, long long third) {
    long long least = first < second ? first : second;
    return least < third ? least : third;
}

__device__ long long largest(long long first, long long second, long long third) {
    long long most = first > second ? first : second;
    return most > third ? most : third;
}

// The quotient rounded up; C rounds towards zero. The divisor is above 0.
__device__ long long ceil_quotient(long long dividend, long long divisor) {
    return dividend / divisor + (dividend % divisor > 0);
}

__device__ void flip(unsigned int *toggles, int ray_axis, int row, int col, int index, int grid_size) {
    int z = ray_axis == 2 ? index : row;
    int y = ray_axis == 0 ? col : (ray_axis == 1 ? index : row);
    int x = ray_axis == 0 ? index : col;
    long long word = ((long long)z * (grid_size + 1) + y) * num_words_of(grid_size) + (x >> 5);
    atomicXor(&toggles[word], 1u << (x & 31));
}

// Flips a bit at the first voxel centre on or behind each crossing of a ray and a triangle. One thread in x per
// triangle; the rows of rays are shared among the blocks in y. Rays are numbered by (row, col): (z, y) for rays along
// x, (z, x) along y, (y, x) along z. lattice is (vertex, xyz), faces (face, corner).
extern "C" __global__ void toggle_crossings(const int *lattice, const int *faces, int num_faces, int ray_axis,
                                            int grid_size, unsigned int *toggles) {
    int face = blockIdx.x * blockDim.x + threadIdx.x;
    if (face >= num_faces) return;
    int col_axis = ray_axis == 0 ? 1 : 0;
    int row_axis = ray_axis == 2 ? 1 : 2;
    const int *p = lattice + 3 * (long long)faces[3 * face];
    const int *q = lattice + 3 * (long long)faces[3 * face + 1];
    const int *r = lattice + 3 * (long long)faces[3 * face + 2];
    long long area = (long long)(q[col_axis] - p[col_axis]) * (r[row_axis] - p[row_axis]) -
                     (long long)(r[col_axis] - p[col_axis]) * (q[row_axis] - p[row_axis]);
    if (area == 0) return;
    if (area < 0) {
        area = -area;
        const int *swapped = q;
        q = r;
        r = swapped;
    }
    long long col_p = p[col_axis], row_p = p[row_axis], depth_p = p[ray_axis];
    long long col_q = q[col_axis], row_q = q[row_axis], depth_q = q[ray_axis];
    long long col_r = r[col_axis], row_r = r[row_axis], depth_r = r[ray_axis];
    long long tie_p = edge_tie(col_q, row_q, col_r, row_r);
    long long tie_q = edge_tie(col_r, row_r, col_p, row_p);
    long long tie_r = edge_tie(col_p, row_p, col_q, row_q);
    long long lowest_row = largest(0, -((-smallest(row_p, row_q, row_r)) >> STEP_BITS), 0);
    long long highest_row = smallest(grid_size - 1, largest(row_p, row_q, row_r) >> STEP_BITS, grid_size - 1);
    long long lowest_col = largest(0, -((-smallest(col_p, col_q, col_r)) >> STEP_BITS), 0);
    long long highest_col = smallest(grid_size - 1, largest(col_p, col_q, col_r) >> STEP_BITS, grid_size - 1);
    for (long long row = lowest_row + blockIdx.y; row <= highest_row; row += gridDim.y) {
        long long at_row = row * STEPS;
        for (long long col = lowest_col; col <= highest_col; ++col) {
            long long at_col = col * STEPS;
            long long weight_p = (col_r - col_q) * (at_row - row_q) - (row_r - row_q) * (at_col - col_q);
            long long weight_q = (col_p - col_r) * (at_row - row_r) - (row_p - row_r) * (at_col - col_r);
            long long weight_r = area - weight_p - weight_q;
            if (weight_p >= tie_p && weight_q >= tie_q && weight_r >= tie_r) {
                long long depth = weight_p * depth_p + weight_q * depth_q + weight_r * depth_r;
                long long index = largest(ceil_quotient(depth, area * STEPS), 0, 0);
                index = smallest(index, grid_size, grid_size);
                flip(toggles, ray_axis, (int)row, (int)col, (int)index, grid_size);
            }
        }
    }
}

// Replaces each bit by the parity of the bits up to it along x. One thread per row (z, y).
extern "C" __global__ void scan_x(unsigned int *toggles, int grid_size) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= (grid_size + 1) * (grid_size + 1)) return;
    int num_words = num_words_of(grid_size);
    unsigned int *words = toggles + (long long)row * num_words;
    unsigned int carry = 0;
    for (int word = 0; word < num_words; ++word) {
        unsigned int bits = words[word];
        for (int shift = 1; shift < 32; shift *= 2) bits ^= bits << shift;
        bits ^= carry;
        words[word] = bits;
        carry = bits >> 31 ? 0xFFFFFFFFu : 0u;
    }
}

// Replaces each bit by the parity of the bits up to it along y. One thread per (z, word).
extern "C" __global__ void scan_y(unsigned int *toggles, int grid_size) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    int num_words = num_words_of(grid_size);
    if (thread >= (grid_size + 1) * num_words) return;
    int z = thread / num_words, word = thread % num_words;
    unsigned int *words = toggles + (long long)z * (grid_size + 1) * num_words + word;
    unsigned int bits = 0;
    for (int y = 0; y <= grid_size; ++y) {
        bits ^= words[(long long)y * num_words];
        words[(long long)y * num_words] = bits;
    }
}

// Replaces each bit by the parity of the bits up to it along z. One thread per (y, word).
extern "C" __global__ void scan_z(unsigned int *toggles, int grid_size) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    int layer_size = (grid_size + 1) * num_words_of(grid_size);
    if (thread >= layer_size) return;
    unsigned int bits = 0;
    for (int z = 0; z <= grid_size; ++z) {
        bits ^= toggles[(long long)z * layer_size + thread];
        toggles[(long long)z * layer_size + thread] = bits;
    }
}

// Sets the voxels that most of the rays with an even number of crossings call inside. One thread per voxel.
extern "C" __global__ void vote(const unsigned int *inside_x, const unsigned int *inside_y,
                                const unsigned int *inside_z, int grid_size, unsigned char *occupancy) {
    long long voxel = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (voxel >= (long long)grid_size * grid_size * grid_size) return;
    int x = (int)(voxel % grid_size), y = (int)(voxel / grid_size % grid_size);
    int z = (int)(voxel / grid_size / grid_size);
    int num_words = num_words_of(grid_size), num_rows = grid_size + 1;
    long long row = ((long long)z * num_rows + y) * num_words;
    long long last_y = ((long long)z * num_rows + grid_size) * num_words + (x >> 5);
    long long last_z = ((long long)grid_size * num_rows + y) * num_words + (x >> 5);
    int bit = x & 31;
    int is_mute_x = inside_x[row + (grid_size >> 5)] >> (grid_size & 31) & 1;
    int is_mute_y = inside_y[last_y] >> bit & 1;
    int is_mute_z = inside_z[last_z] >> bit & 1;
    int num_inside = (!is_mute_x && (inside_x[row + (x >> 5)] >> bit & 1)) +
                     (!is_mute_y && (inside_y[row + (x >> 5)] >> bit & 1)) +
                     (!is_mute_z && (inside_z[row + (x >> 5)] >> bit & 1));
    occupancy[voxel] = 2 * num_inside > 3 - is_mute_x - is_mute_y - is_mute_z;
}
