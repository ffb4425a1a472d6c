/* The boots of powercut.h for tests that are not written in C:
 *
 *   power_tool new FILE ROOT            a control file
 *   power_tool begin FILE CUT FROM TO   a boot; cut before operation CUT, no room from FROM to TO
 *   power_tool cut FILE                 its end; prints how many operations there were
 *   power_tool fail FILE SEED           the root as the disk has it; prints what was lost */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "powercut.h"

int main(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[1] : "";
    const bool is_new = strcmp(verb, "new") == 0 && argc == 4;
    PowerControl *c = argc > 2 ? power_open(argv[2], is_new ? argv[3] : NULL) : NULL;
    PowerLoss loss;
    bool ok = c != NULL;
    if (ok && strcmp(verb, "begin") == 0 && argc == 6) {
        ok = power_begin(c, strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10),
                         strtoull(argv[5], NULL, 10));
    } else if (ok && strcmp(verb, "cut") == 0) {
        power_cut(c);
        printf("%" PRIu64 " %" PRIu64 "\n", c->count, c->refused);
    } else if (ok && strcmp(verb, "fail") == 0 && argc == 4) {
        ok = power_fail(c, (unsigned)strtoul(argv[3], NULL, 10), &loss);
        if (ok)
            printf("%zu %zu %zu %zu\n", loss.names, loss.names_lost, loss.writes, loss.writes_lost);
    } else if (!is_new) {
        fprintf(stderr, "usage: power_tool new|begin|cut|fail FILE ...\n");
        return 2;
    }
    power_close(c);
    return !ok;
}
