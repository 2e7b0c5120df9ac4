// The solvent-excluded solid: the CUDA twin of solvent_surface_cpu.py, with the same float arithmetic in the same order.
//
// Grids are packed bits of shape (z, y, word), a margin on each side of the result so that a run never leaves its row:
// bit x % 32 of word x / 32. A set bit is outside.

__device__ int at_least(int value, int bound) { return value > bound ? value : bound; }

__device__ int at_most(int value, int bound) { return value < bound ? value : bound; }

// Clears the bits from the first to the last of a run.
__device__ void clear_run(unsigned int *row, int first, int last) {
    int first_word = first >> 5, last_word = last >> 5;
    unsigned int from_first = 0xFFFFFFFFu << (first & 31), to_last = 0xFFFFFFFFu >> (31 - (last & 31));
    if (first_word == last_word) {
        atomicAnd(&row[first_word], ~(from_first & to_last));
        return;
    }
    atomicAnd(&row[first_word], ~from_first);
    for (int word = first_word + 1; word < last_word; ++word) row[word] = 0;
    atomicAnd(&row[last_word], ~to_last);
}

// Clears the bits of voxel centres within a sphere; spheres are (sphere, xyz and radius) in voxels of the padded grid.
// One block in x per sphere; its threads share the sphere's rows.
extern "C" __global__ void clear_spheres(const float *spheres, int num_rows, int num_words, unsigned int *outside) {
    const float *sphere = spheres + 4 * (long long)blockIdx.x;
    float center_x = sphere[0], center_y = sphere[1], center_z = sphere[2], radius = sphere[3];
    int first_z = at_least((int)ceilf(center_z - radius), 0);
    int first_y = at_least((int)ceilf(center_y - radius), 0);
    int num_z = at_most((int)floorf(center_z + radius), num_rows - 1) - first_z + 1;
    int num_y = at_most((int)floorf(center_y + radius), num_rows - 1) - first_y + 1;
    for (int place = threadIdx.x; place < num_z * num_y; place += blockDim.x) {
        int z = first_z + place / num_y, y = first_y + place % num_y;
        float offset_z = (float)z - center_z, offset_y = (float)y - center_y;
        float run = radius * radius - offset_z * offset_z;
        run = run - offset_y * offset_y;
        if (run < 0.0f) continue;
        float half_width = sqrtf(run);
        int first = at_least((int)ceilf(center_x - half_width), 0);
        int last = at_most((int)floorf(center_x + half_width), num_words * 32 - 1);
        if (first <= last) clear_run(outside + ((long long)z * num_rows + y) * num_words, first, last);
    }
}

// Sets the neighbours along x of each set bit. One thread per word.
extern "C" __global__ void widen_rows(const unsigned int *outside, int num_rows, int num_words, unsigned int *widened) {
    long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= (long long)num_rows * num_rows * num_words) return;
    int word = (int)(place % num_words);
    unsigned int bits = outside[place];
    unsigned int before = word > 0 ? outside[place - 1] : 0u;
    unsigned int behind = word + 1 < num_words ? outside[place + 1] : 0u;
    widened[place] = bits | bits << 1 | bits >> 1 | before >> 31 | behind << 31;
}

// Adds to each row of the result, grid_size rows of them along z and y, the rows of the outside at some offsets
// (row, zy) from the corner of the padded grid. One thread per word of the result.
extern "C" __global__ void add_rows(const unsigned int *outside, int num_rows, int num_words, const int *offsets_zy,
                                    int num_offsets, int grid_size, unsigned int *reached) {
    long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= (long long)grid_size * grid_size * num_words) return;
    int word = (int)(place % num_words), y = (int)(place / num_words % grid_size);
    int z = (int)(place / num_words / grid_size);
    unsigned int bits = reached[place];
    for (int row = 0; row < num_offsets; ++row) {
        int other_z = z + offsets_zy[2 * row], other_y = y + offsets_zy[2 * row + 1];
        bits |= outside[((long long)other_z * num_rows + other_y) * num_words + word];
    }
    reached[place] = bits;
}

// Unpacks what was not reached, 1 inside, from the words behind the margin. One thread per voxel.
extern "C" __global__ void unpack_solid(const unsigned int *reached, int num_words, int margin_words, int grid_size,
                                        unsigned char *occupancy) {
    long long voxel = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (voxel >= (long long)grid_size * grid_size * grid_size) return;
    int x = (int)(voxel % grid_size);
    long long row = voxel / grid_size;
    occupancy[voxel] = ~reached[row * num_words + margin_words + (x >> 5)] >> (x & 31) & 1;
}
