/* Prints one line per name: its IPv4 addresses in order, or what went wrong. Linked with glibc and with musl, it shows how
   programs of either C library resolve names. resolve.go prints the same with Go's resolver. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MAX_ADDRESSES = 64 };

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

static void print(const char *name) {
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
  char texts[MAX_ADDRESSES][INET_ADDRSTRLEN];
  size_t count = 0;
  int problem = getaddrinfo(name, NULL, &hints, &found);
  printf("%s =", name);
  if (problem != 0) {
    printf(" %s\n", problem == EAI_NONAME ? "not found" : gai_strerror(problem));
    return;
  }
  for (struct addrinfo *at = found; at != NULL && count < MAX_ADDRESSES; at = at->ai_next) {
    const struct sockaddr_in *address = (const void *)at->ai_addr;
    inet_ntop(AF_INET, &address->sin_addr, texts[count++], INET_ADDRSTRLEN);
  }
  freeaddrinfo(found);
  qsort(texts, count, sizeof *texts, by_text);
  for (size_t at = 0; at < count; at++) {
    if (at == 0 || strcmp(texts[at], texts[at - 1]) != 0)
      printf(" %s", texts[at]);
  }
  putchar('\n');
}

int main(int count, char **names) {
  for (int at = 1; at < count; at++)
    print(names[at]);
  return 0;
}
