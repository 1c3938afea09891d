/* open_read LIST: opens, reads to the end and closes every file named in LIST, one name
 * a line, relative to the working directory; prints "seconds S". */
#include <fcntl.h>
#include <unistd.h>

#include "names.h"

static char buffer[1 << 20];

int main(int argc, char **argv)
{
    size_t count;
    if (argc != 2)
        return 2;
    char **names = read_names(argv[1], "", &count);
    double start = now();
    for (size_t i = 0; i < count; i++) {
        ssize_t n;
        int file = open(names[i], O_RDONLY);
        if (file < 0) {
            perror(names[i]);
            return 1;
        }
        while ((n = read(file, buffer, sizeof buffer)) > 0)
            ;
        if (n < 0) {
            perror(names[i]);
            return 1;
        }
        close(file);
    }
    printf("seconds %.6f\n", now() - start);
    return 0;
}
