/* recompute.h — the last step of recording a backward pass: which values it makes again instead of keeping them. */
#ifndef FD_GRAPH_RECOMPUTE_H
#define FD_GRAPH_RECOMPUTE_H

#include "graph/graph.h"

/* Nodes from `start` on are a backward pass. They are recorded anew, reading second copies of what is cheap to make
 * again; the values they write stay the same. Nodes before `start` are untouched. */
fd_status fd_graph_recompute(fd_graph *g, int start);

#endif
