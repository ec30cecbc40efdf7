/* args.h — the command line as tables: a subcommand lists its options once; parsing, checking and --help follow.
 *
 *   --name value, --name=value, -n value; --flag, --no-flag, --flag=no
 *   '_' is '-' and case does not matter, because EDM mixes spellings: --S_churn, --sigma_min, --batch-gpu
 *
 * The values a table points at hold the defaults when fd_args_parse is called; --help prints them from there.
 */
#ifndef FD_CLI_ARGS_H
#define FD_CLI_ARGS_H

#include <stdint.h>

#include "base/arena.h"

typedef enum {
    FD_OPT_FLAG,        /* bool *                                                                              */
    FD_OPT_INT,         /* int *, within [lo, hi]                                                              */
    FD_OPT_DOUBLE,      /* double *, within [lo, hi]; "inf" where hi is infinite                               */
    FD_OPT_SEED,        /* uint64_t *, any                                                                     */
    FD_OPT_COUNT,       /* int64_t *, within [lo, hi]; 500, 1.5k, 2M (decimal), 64Ki, 4Mi (binary)              */
    FD_OPT_AMOUNT,      /* double *, as COUNT                                                                  */
    FD_OPT_TEXT,        /* const char **, not empty                                                            */
    FD_OPT_ENUM,        /* int *, index into words                                                             */
    FD_OPT_INTS,        /* int *, comma list of at most `most` values within [lo, hi]; their number in *count    */
    FD_OPT_DOUBLES      /* double *, the same                                                                  */
} fd_option_type;

typedef struct fd_option {
    const char *name;           /* without dashes; "S_churn" is shown so                            */
    fd_option_type type;
    void *to;
    const char *value;          /* what --help calls the value: "FILE", "N"                         */
    const char *help;           /* one or two sentences; the default is added by --help             */
    double lo, hi;              /* both 0: no limits                                                */
    double unit;                /* COUNT, AMOUNT: what a number without suffix is multiplied by; 0 = 1 */
    const char *const *words;   /* ENUM: NULL-terminated; INT: the first one stands for 0           */
    int *count, most;           /* lists                                                            */
    bool required;
    bool *given;                /* set when the option was on the command line; may be NULL         */
    char letter;                /* short form, 0 = none                                             */
    bool no_default;            /* --help says nothing about the default                            */
    const char *group;          /* heading before this option on the help page                      */
} fd_option;

typedef struct fd_args {
    const char *command;        /* "dataset create"                                                 */
    const char *operands;       /* "FILE [FILE …]"; NULL = none                                      */
    const char *about;          /* paragraphs of the help page, separated by newlines               */
    const char *examples;       /* lines, shown as they are                                         */
    const fd_option *option;
    int n;
    int least, most;            /* operands                                                         */
    /* results */
    char **operand;             /* those given, in order (argv, permuted)                           */
    int n_operands;
    bool helped;                /* --help was printed: the command returns FD_OK at once            */
} fd_args;

/* argv[0] is the command word itself. ARG with one line that names the option, what is wrong and what is allowed.
 * --threads and --quiet are known to every command and go into ctx. */
fd_status fd_args_parse(fd_ctx *ctx, fd_args *a, int argc, char **argv);

/* FD_RANKS: shares its work with the other processes that mpirun started (comm/comm.h). */
typedef enum { FD_ALONE, FD_RANKS } fd_ranks_allowed;

/* One subcommand, and the choice among several. */
typedef struct fd_command {
    const char *name, *summary;
    fd_status (*run)(fd_ctx *ctx, int argc, char **argv);
    fd_ranks_allowed ranks;
} fd_command;
/* argv[0] is the word the table belongs to ("dataset"; "" for the program itself), argv[1] the choice. ARG when several ranks
 * choose a command that is not for them. */
fd_status fd_command_run(fd_ctx *ctx, const char *prefix, const char *about, const fd_command *table, int n, int argc,
                         char **argv);

/* The word of a list most like `word`, NULL when none is near. */
const char *fd_nearest(const char *word, const char *const *list, int n);

/* Number of one value in the forms of COUNT; false if it is none. */
bool fd_parse_amount(const char *text, double unit, double *out);

#endif
