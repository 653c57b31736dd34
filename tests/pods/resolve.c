/* Prints one line per name: what was found in order, or what went wrong. That is IPv4 addresses, or for names that begin with `_` SRV
   records. Linked with glibc and with musl, it shows how programs of either C library resolve names. resolve.go prints the same with
   Go's resolver. */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MAX_RECORDS = 64, MAX_TEXT = 300 };

static char texts[MAX_RECORDS][MAX_TEXT];

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

/* Both return the number of texts, or a negative number after an error that they have printed. */
static int addresses(const char *name) {
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
  int count = 0;
  int problem = getaddrinfo(name, NULL, &hints, &found);
  if (problem != 0) {
    printf(" %s", problem == EAI_NONAME ? "not found" : gai_strerror(problem));
    return -1;
  }
  for (struct addrinfo *at = found; at != NULL && count < MAX_RECORDS; at = at->ai_next) {
    const struct sockaddr_in *address = (const void *)at->ai_addr;
    inet_ntop(AF_INET, &address->sin_addr, texts[count++], MAX_TEXT);
  }
  freeaddrinfo(found);
  return count;
}

static int services(const char *name) {
  unsigned char reply[NS_MAXMSG];
  ns_msg message;
  int length = res_search(name, ns_c_in, ns_t_srv, reply, sizeof reply), count = 0;
  if (length < 0 || ns_initparse(reply, length, &message) != 0) {
    printf(" not found");
    return -1;
  }
  for (int at = 0; at < ns_msg_count(message, ns_s_an) && count < MAX_RECORDS; at++) {
    ns_rr record;
    char target[NS_MAXDNAME];
    const unsigned char *data;
    if (ns_parserr(&message, ns_s_an, at, &record) != 0 || ns_rr_type(record) != ns_t_srv)
      continue;
    data = ns_rr_rdata(record);
    if (dn_expand(reply, reply + length, data + 6, target, sizeof target) < 0)
      continue;
    snprintf(texts[count++], MAX_TEXT, "%u,%u,%u,%.250s.", ns_get16(data), ns_get16(data + 2), ns_get16(data + 4), target);
  }
  return count;
}

static void print(const char *name) {
  printf("%s =", name);
  int count = name[0] == '_' ? services(name) : addresses(name);
  if (count > 0)
    qsort(texts, count, MAX_TEXT, by_text);
  for (int at = 0; at < count; at++) {
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
