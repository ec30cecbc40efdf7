/* feature_train.h — trains the feature network of a set: a small classifier whose global mean is the feature vector.
 *
 *   loss = sum over the attributes of cross-entropy(logits, target), averaged over the batch
 *   target = (1 - smooth) one-hot + smooth / classes
 * Pictures are shifted by up to `shift` pixels (gray outside) and get Gaussian noise of a deviation drawn from
 * [0, noise]: the features should not depend on what generators blur. What is saved is the average of the weights,
 * with the mean and deviation of its features over the set, so that every feature counts alike in a distance.
 */
#ifndef FD_EVAL_FEATURE_TRAIN_H
#define FD_EVAL_FEATURE_TRAIN_H

#include "eval/attributes.h"
#include "train/job.h"

typedef struct fd_feature_options {
    fd_job_options job;                       /* cond is implied where the labels are the attributes            */
    fd_attributes_kind attributes;
    const char *test;                         /* set that the accuracy is measured on; NULL = the training set    */
    int channels[FD_MAX_LEVELS], nchannels;   /* widths of the stages (models/classifier.c)                      */
    int blocks;                               /* residual blocks per stage; 0 = plain convolutions               */
    fd_lr lr;
    double beta1, beta2, eps, weight_decay;   /* AdamW: 0.9, 0.99, 1e-8, 0.01                                    */
    double ema_halflife, ema_ramp;            /* images; share of the images seen                                */
    double smooth;                            /* of the targets                                                  */
    double noise;                             /* largest deviation, images being in [-1, 1]                      */
    int shift;                                /* pixels                                                          */
} fd_feature_options;

fd_feature_options fd_feature_defaults(void);
/* Runs to the end or to the signal (FD_E_CANCELLED, state saved), like fd_train. */
fd_status fd_feature_train(fd_ctx *ctx, const fd_feature_options *o);

#endif
