/* dataset.json of a set of three pictures. */
#include "fuzz.h"
#include "io/dataset_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_file(data, size);
    if (!path) return 0;
    fd_source_file file[] = {{"00000/a.png", "", -1}, {"00000/b.png", "", -1}, {"c.png", "", -1},
                             {"dataset.json", path, -1}};
    fd_source source = {.path = "set", .file = file, .n = 4, .json = 3};
    const int64_t image[] = {0, 1, 2};
    for (int report = 0; report < 2; report++) {
        fd_ctx ctx = fuzz_ctx();
        fd_arena arena = {0};
        fd_dataset_report r = {.n = 0};
        r.problem = fd_arena_alloc(&ctx, &r.arena, FD_DATASET_PROBLEMS * sizeof *r.problem);
        fd_faults faults = {.ctx = &ctx, .set = "set", .report = report ? &r : NULL};
        fd_labels labels;
        fd_status s = fd_labels_from_json(&faults, &source, image, 3, true, &arena, &labels);
        fuzz_judge(&ctx, s);
        if (s == FD_OK && labels.number) fuzz_touch(labels.number, 3 * sizeof *labels.number);
        if (s == FD_OK && labels.vector) fuzz_touch(labels.vector, 3 * (size_t)labels.dim * sizeof *labels.vector);
        fd_arena_free(&arena);
        fd_dataset_report_free(&r);
    }
    return 0;
}
