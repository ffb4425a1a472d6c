/* Labelled pictures by number: folders with a CSV, CIFAR-10 binary files, MNIST idx files.
 *
 * Opening reads names and labels (or, for the binary formats, the whole file); a picture is
 * decoded when asked for. Reading is safe from several threads at once. */
#ifndef LEDGE_IMAGE_DATASET_H
#define LEDGE_IMAGE_DATASET_H

#include "image/image.h"

typedef struct LedgeDataset LedgeDataset;

typedef struct LedgeSample {
    char name[256]; /* file name, or "#12" in a binary file; cut to fit */
    int32_t label;  /* class, or -1: none known */
    LedgeImage image;
} LedgeSample;

/* Pictures of a folder. With `labels`, a CSV of "file,class_id" lines (a first line of words is
 * skipped; files are relative to the folder), these in its order; without, every .jpg,
 * .jpeg and .png by name, unlabelled. Statuses: IO, NOT_FOUND, FORMAT (naming the line),
 * LIMIT, MEMORY. All `open` functions: a NULL allocator is the C library's; an empty set is
 * a FORMAT error. */
LEDGE_MUST_CHECK LedgeStatus ledge__dataset_open_folder(const LedgeAllocator *a, const char *folder,
                                                        const char *labels, LedgeError *err,
                                                        LedgeDataset **out);
/* CIFAR-10's binary format: records of a label byte and 32x32 red, green, blue planes. */
LEDGE_MUST_CHECK LedgeStatus ledge__dataset_open_cifar10(const LedgeAllocator *a, const char *path,
                                                         LedgeError *err, LedgeDataset **out);
/* MNIST's idx3 pictures and idx1 labels, gzipped or plain. labels == NULL: the file beside it
 * with "labels-idx1" for "images-idx3" in its name. */
LEDGE_MUST_CHECK LedgeStatus ledge__dataset_open_mnist(const LedgeAllocator *a, const char *images,
                                                       const char *labels, LedgeError *err,
                                                       LedgeDataset **out);
/* What `--dataset` takes: "cifar10:FILE", "mnist:IMAGES[,LABELS]" or "folder:DIR[,CSV]". */
LEDGE_MUST_CHECK LedgeStatus ledge__dataset_open(const LedgeAllocator *a, const char *what,
                                                 LedgeError *err, LedgeDataset **out);
/* The same, or a folder's bare path, with the CSV `labels` or NULL. */
LEDGE_MUST_CHECK LedgeStatus ledge__dataset_open_any(const LedgeAllocator *a, const char *what,
                                                     const char *labels, LedgeError *err,
                                                     LedgeDataset **out);
void ledge__dataset_free(LedgeDataset *dataset); /* NULL is legal */

size_t ledge__dataset_count(const LedgeDataset *dataset);
/* Label alone, without decoding; -1: none known. index must be below the count. */
int32_t ledge__dataset_label(const LedgeDataset *dataset, size_t index);
/* The picture's file; NULL in the binary formats. index must be below the count. */
const char *ledge__dataset_path(const LedgeDataset *dataset, size_t index);
/* The caller frees out->image by ledge__image_free. Statuses: those of ledge__image_load. */
LEDGE_MUST_CHECK LedgeStatus ledge__dataset_read(const LedgeDataset *dataset, size_t index,
                                                 LedgeError *err, LedgeSample *out);

#endif
